"""Many rows in one forward without padding, and without computing what rows share more than once.

Rows of one task begin with the same prompt, often go on with the same turns, and a sharp policy samples whole copies.
A pack is the prefix tree of its rows: a token is there once for all rows that are the same up to it. The attention mask
lets it see the tokens on its path and its position is its depth, so it gets exactly the hidden state it would have in
each of these rows alone. (Packing by ``position_ids`` alone is silently wrong with a cache or an all-ones mask; the
mask here says everything.)
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.online.rows import TrainRow

_NOBODY = -1


@dataclass(frozen=True)
class Pack:
    """One forward of T tokens that makes M predictions, which serve for N trained tokens."""

    rows: list[TrainRow]
    """Its rows."""
    input_ids_1T: Tensor
    """Token ids, a row's path through the tree in ascending order."""
    positions_1T: Tensor
    """Position of each token in its rows."""
    mask_11TT: Tensor | None
    """Bool: who sees whom; ``None``: plain causal attention (a tree without branches)."""
    sources_M: Tensor
    """Index of the token whose hidden state makes each prediction."""
    targets_M: Tensor
    """The predicted tokens' ids."""
    temperature_M: Tensor
    """Temperature each was sampled with."""
    predictions_N: Tensor
    """Prediction of each trained token, index into the M; copies of a row have the same ones."""
    rows_N: Tensor
    """Row of each trained token, index into ``rows``."""

    @property
    def filler(self) -> bool:
        """Whether it counts for nothing (:func:`filler`)."""
        return self.rows[0].episode == _NOBODY

    def tensor(self, name: str) -> Tensor:
        """A per-token tensor of all rows, ``[N]``, on the pack's device."""
        return torch.cat([getattr(row, name) for row in self.rows]).to(self.rows_N.device)

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
    """Which rows go together: in the order of their tokens, which puts those that share most side by side."""
    bundled: list[list[TrainRow]] = []
    size, before = 0, list[int]()
    for row in sorted(rows, key=lambda row: row.ids):
        own = len(row) - _shared(before, row.ids)
        if bundled and size + own <= tokens:
            bundled[-1].append(row)
            size += own
        else:
            bundled.append([row])
            size = len(row)
        before = row.ids
    return bundled


def tree_tokens(rows: Sequence[TrainRow]) -> int:
    """How many tokens a forward of these rows computes."""
    ordered = sorted(row.ids for row in rows)
    return sum(len(ids) - _shared(before, ids) for before, ids in itertools.pairwise([[], *ordered]))


def _shared(a: list[int], b: list[int]) -> int:
    """Length of the longest common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def build_pack(rows: Sequence[TrainRow], device: torch.device) -> Pack:
    """The tensors of one forward."""
    ordered = sorted(rows, key=lambda row: row.ids)
    ids, positions, ends = list[int](), list[int](), list[int]()
    path, before = list[int](), list[int]()
    predictions: dict[tuple[int, int, float], int] = {}
    wanted: list[int] = []
    for row in ordered:
        shared = _shared(before, row.ids)
        path = path[:shared] + list(range(len(ids), len(ids) + len(row) - shared))
        ids += row.ids[shared:]
        positions += range(shared, len(row))
        ends += [0] * (len(row) - shared)
        for node in path:
            ends[node] = len(ids)
        for place in row.trained:
            prediction = (path[place - 1], row.ids[place], row.temperature)
            wanted.append(predictions.setdefault(prediction, len(predictions)))
        before = row.ids
    sources, targets, temperatures = zip(*predictions, strict=True)
    lengths = torch.tensor([len(row.trained) for row in ordered])
    return Pack(
        rows=ordered,
        input_ids_1T=torch.tensor([ids]).to(device),
        positions_1T=torch.tensor([positions]).to(device),
        mask_11TT=_mask(ends, device) if min(ends) < len(ids) else None,
        sources_M=torch.tensor(sources).to(device),
        targets_M=torch.tensor(targets).to(device),
        temperature_M=torch.tensor(temperatures).to(device),
        predictions_N=torch.tensor(wanted).to(device),
        rows_N=torch.arange(len(ordered)).repeat_interleave(lengths).to(device),
    )


def _mask(ends: list[int], device: torch.device) -> Tensor:
    """A token sees itself and those before it whose part of the tree (up to ``ends``) it lies in."""
    ends_T = torch.tensor(ends).to(device)
    order_T = torch.arange(len(ends), device=device)
    return ((order_T[None, :] <= order_T[:, None]) & (order_T[:, None] < ends_T[None, :]))[None, None]
