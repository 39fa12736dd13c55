"""Many rows in one forward without padding, and without computing what siblings share more than once.

Rows of one task begin with the same prompt. A pack holds the prompt once and the rows' own parts behind it; the
attention mask lets each part see its prompt and itself, and positions go on from the prompt, so every token gets
exactly the hidden state it would have alone. (Packing by ``position_ids`` alone is silently wrong with a cache or an
all-ones mask; the mask here says everything.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.online.rows import TrainRow

_NOBODY = -1


@dataclass(frozen=True)
class Pack:
    """One forward of T tokens that scores N trained ones."""

    rows: list[TrainRow]
    """Its rows."""
    input_ids_1T: Tensor
    """Token ids."""
    positions_1T: Tensor
    """Position of each token in its own row."""
    mask_11TT: Tensor | None
    """Bool: who sees whom; ``None``: plain causal attention (a single row)."""
    sources_N: Tensor
    """Index of the token whose hidden state predicts each trained token."""
    targets_N: Tensor
    """The trained tokens' ids."""
    rows_N: Tensor
    """Row of each trained token, index into ``rows``."""
    temperature_N: Tensor
    """Temperature each was sampled with."""

    @property
    def filler(self) -> bool:
        """Whether it counts for nothing (:func:`filler`)."""
        return self.rows[0].episode == _NOBODY

    def tensor(self, name: str) -> Tensor:
        """A per-token tensor of all rows, ``[N]``, on the pack's device."""
        return torch.cat([getattr(row, name) for row in self.rows]).to(self.targets_N.device)

    def split(self, values_N: Tensor) -> list[Tensor]:
        """Per-token values, back row by row, on the CPU."""
        return list(values_N.cpu().split([len(row.trained) for row in self.rows]))


def make_packs(rows: Sequence[TrainRow], *, tokens: int, device: torch.device) -> list[Pack]:
    """Pack ``rows`` into forwards of at most ``tokens`` tokens (a row longer than that has one of its own)."""
    return [build_pack(bundle, device) for bundle in bundles(rows, tokens)]


def filler(device: torch.device) -> Pack:
    """A forward of one token of weight 0: it keeps a process in step with others that have more rows."""
    zero_N = torch.zeros(1)
    row = TrainRow([0, 0], [1], zero_N, zero_N.long(), 1.0, episode=_NOBODY, group=_NOBODY)
    row.advantages_N = row.old_values_N = row.returns_N = row.reference_N = zero_N
    return build_pack([row], device)


def bundles(rows: Sequence[TrainRow], tokens: int) -> list[list[TrainRow]]:
    """Which rows go together: siblings first, then whatever still fits, longest first (first-fit decreasing)."""
    chunks = [chunk for siblings in _by_prompt(rows) for chunk in _cut(siblings, tokens)]
    bins: list[tuple[int, list[TrainRow]]] = []
    for size, chunk in sorted(chunks, key=lambda item: -item[0]):
        place = next((i for i, (used, _) in enumerate(bins) if used + size <= tokens), None)
        if place is None:
            bins.append((size, list(chunk)))
        else:
            bins[place] = (bins[place][0] + size, bins[place][1] + chunk)
    return [bundle for _, bundle in bins]


def _by_prompt(rows: Sequence[TrainRow]) -> list[list[TrainRow]]:
    siblings: dict[tuple[int, ...], list[TrainRow]] = {}
    for row in rows:
        siblings.setdefault(tuple(row.ids[: row.prompt_length]), []).append(row)
    return list(siblings.values())


def _cut(siblings: list[TrainRow], tokens: int) -> list[tuple[int, list[TrainRow]]]:
    """Siblings in parts that fit, with the tokens of each part."""
    prompt = siblings[0].prompt_length
    parts: list[tuple[int, list[TrainRow]]] = []
    for row in sorted(siblings, key=len):
        own = len(row) - prompt
        if parts and parts[-1][0] + own <= tokens:
            parts[-1] = (parts[-1][0] + own, [*parts[-1][1], row])
        else:
            parts.append((prompt + own, [row]))
    return parts


def build_pack(rows: Sequence[TrainRow], device: torch.device) -> Pack:
    """The tensors of one forward."""
    ids: list[int] = []
    positions: list[int] = []
    tree: list[int] = []
    branch: list[int] = []
    sources: list[list[int]] = []
    ordered = [row for siblings in _by_prompt(rows) for row in siblings]
    trunks: dict[tuple[int, ...], tuple[int, int]] = {}
    for number, row in enumerate(ordered, start=1):
        length = row.prompt_length
        prompt = tuple(row.ids[:length])
        if prompt not in trunks:
            trunks[prompt] = (len(trunks), len(ids))
            ids += prompt
            positions += range(length)
            tree += [trunks[prompt][0]] * length
            branch += [0] * length
        root, trunk = trunks[prompt]
        start = len(ids)
        ids += row.ids[length:]
        positions += range(length, len(row))
        tree += [root] * (len(row) - length)
        branch += [number] * (len(row) - length)
        places = [place - 1 for place in row.trained]
        sources.append([trunk + p if p < length else start + p - length for p in places])
    lengths = torch.tensor([len(row.trained) for row in ordered])
    return Pack(
        rows=ordered,
        input_ids_1T=torch.tensor([ids]).to(device),
        positions_1T=torch.tensor([positions]).to(device),
        mask_11TT=_mask(tree, branch, device) if len(ordered) > 1 else None,
        sources_N=torch.tensor([place for row in sources for place in row]).to(device),
        targets_N=torch.tensor([row.ids[place] for row in ordered for place in row.trained]).to(device),
        rows_N=torch.arange(len(ordered)).repeat_interleave(lengths).to(device),
        temperature_N=torch.tensor([row.temperature for row in ordered]).repeat_interleave(lengths).to(device),
    )


def _mask(tree: list[int], branch: list[int], device: torch.device) -> Tensor:
    """A token sees the trunk of its tree and its own branch, up to itself."""
    tree_T, branch_T = torch.tensor(tree).to(device), torch.tensor(branch).to(device)
    causal_TT = torch.ones(len(tree), len(tree), dtype=torch.bool, device=device).tril_()
    same_TT = tree_T[:, None] == tree_T[None, :]
    own_TT = (branch_T[None, :] == 0) | (branch_T[:, None] == branch_T[None, :])
    return (causal_TT & same_TT & own_TT)[None, None]
