"""Packed forwards against each row alone: same log-probabilities, entropies, gradients; nothing computed twice."""

import dataclasses
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import PeftModel

from copilot.online.packing import build_pack, bundles, make_packs, tree_tokens
from copilot.online.rows import TrainRow
from copilot.online.scoring import hidden_states, score

from .uneven import grown_from, make_row, make_rows

CPU = torch.device("cpu")


def alone(model: torch.nn.Module, row: TrainRow) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies from full logits of one unpacked row."""
    logits = model(input_ids=torch.tensor([row.ids])).logits[0].float() / row.temperature
    logprobs = torch.log_softmax(logits, -1)
    places = torch.tensor(row.trained)
    logps = logprobs[places - 1, torch.tensor(row.ids)[places]]
    return logps, torch.distributions.Categorical(logits=logits[places - 1]).entropy()


def padded(model: torch.nn.Module, rows: list[TrainRow]) -> torch.Tensor:
    """Log-probabilities from one right-padded batch with an attention mask."""
    width = max(map(len, rows))
    ids = torch.tensor([row.ids + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    logits = model(input_ids=ids, attention_mask=mask).logits.float() / rows[0].temperature
    found = [torch.log_softmax(logits[i, p - 1], -1)[row.ids[p]] for i, row in enumerate(rows) for p in row.trained]
    return torch.stack(found)


@pytest.mark.parametrize("tokens", [30, 120, 4000])
@pytest.mark.parametrize("alike", [False, True])
def test_packed_rows_score_as_alone(model: PeftModel, tokens: int, alike: bool) -> None:
    rows = make_rows(4, 3)
    rows += [copy for row in rows for copy in grown_from(row)] if alike else []
    packs = make_packs(rows, tokens=tokens, device=CPU)
    assert sorted(id(row) for pack in packs for row in pack.rows) == sorted(map(id, rows))
    for pack in packs:
        scored = score(model, pack)
        expected = [alone(model, row) for row in pack.rows]
        torch.testing.assert_close(scored.logps_N, torch.cat([e[0] for e in expected]), atol=5e-5, rtol=0)
        torch.testing.assert_close(scored.entropy_N, torch.cat([e[1] for e in expected]), atol=5e-5, rtol=0)
        assert (scored.logps_N - padded(model, pack.rows)).abs().max() < 5e-5


@pytest.mark.parametrize("alike", [False, True])
def test_gradients_are_those_of_the_rows_alone(model: PeftModel, alike: bool) -> None:
    rows = make_rows(2, 4)
    rows += [copy for row in rows for copy in grown_from(row)] if alike else []
    (pack,) = make_packs(rows, tokens=4000, device=CPU)
    (score(model, pack).logps_N ** 2).sum().backward()
    packed = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch.stack([(alone(model, row)[0] ** 2).sum() for row in rows]).sum().backward()
    assert packed
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert (packed[name] - parameter.grad).norm() <= 1e-5 * parameter.grad.norm(), name


def test_the_entropy_has_a_gradient_only_when_asked(model: PeftModel) -> None:
    (pack,) = make_packs(make_rows(1, 2), tokens=4000, device=CPU)
    assert not score(model, pack).entropy_N.requires_grad
    assert score(model, pack, entropy_gradient=True).entropy_N.requires_grad


def test_hidden_states_are_where_the_tokens_are_predicted(model: PeftModel) -> None:
    (pack,) = make_packs(make_rows(2, 2), tokens=4000, device=CPU)
    base = model.get_base_model()
    logits = base.lm_head(hidden_states(base.model, pack)).float() / pack.temperature_M[pack.predictions_N, None]
    targets = pack.targets_M[pack.predictions_N]
    logps = torch.log_softmax(logits, -1).gather(1, targets[:, None]).squeeze(1)
    torch.testing.assert_close(logps, score(model, pack).logps_N, atol=1e-5, rtol=0)


def test_a_prompt_is_in_a_pack_once() -> None:
    rng = random.Random(0)
    rows = [make_row(rng, [5] * 100, turns=1, episode=i, group=0) for i in range(8)]
    pack = build_pack(rows, CPU)
    own = sum(len(row) - 100 for row in rows)
    assert pack.input_ids_1T.shape[1] == 100 + own
    assert pack.mask_11TT is not None
    assert build_pack(rows[:1], CPU).mask_11TT is None


def test_copies_and_common_turns_are_in_a_pack_once() -> None:
    row = make_row(random.Random(0), [5] * 20, turns=2, episode=0, group=0)
    alike = [row, *grown_from(row)]
    pack = build_pack(alike, CPU)
    assert pack.input_ids_1T.shape[1] == tree_tokens(alike)
    assert (
        tree_tokens(alike) == len({tuple(r.ids[: i + 1]) for r in alike for i in range(len(r))}) < sum(map(len, alike))
    )
    one = build_pack([row, row], CPU)
    assert one.mask_11TT is None
    assert one.input_ids_1T.tolist() == [row.ids]
    assert len(one.targets_M) == len(row.trained) == len(one.predictions_N) / 2


def test_copies_sampled_at_other_temperatures_are_predicted_apart(model: PeftModel) -> None:
    row = make_row(random.Random(0), [5] * 20, turns=2, episode=0, group=0)
    cold = dataclasses.replace(row, temperature=0.3)
    (pack,) = make_packs([row, cold], tokens=4000, device=CPU)
    warm_logps, cold_logps = pack.split(score(model, pack).logps_N)
    assert pack.rows == [row, cold]
    torch.testing.assert_close(warm_logps, alone(model, row)[0], atol=5e-5, rtol=0)
    torch.testing.assert_close(cold_logps, alone(model, cold)[0], atol=5e-5, rtol=0)


def test_rows_come_back_in_their_own_pieces() -> None:
    rows = make_rows(2, 2)
    (pack,) = make_packs(rows, tokens=4000, device=CPU)
    for row, piece in zip(pack.rows, pack.split(pack.tensor("server_logps_N")), strict=True):
        assert torch.equal(piece, row.server_logps_N)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(20, 200), st.integers(0, 50))
def test_every_row_is_in_one_forward_that_fits(groups: int, size: int, tokens: int, seed: int) -> None:
    rows = make_rows(groups, size, seed=seed)
    rows += [copy for row in rows[::3] for copy in grown_from(row)]
    parts = bundles(rows, tokens)
    assert sorted(id(row) for part in parts for row in part) == sorted(map(id, rows))
    for part in parts:
        length = build_pack(part, CPU).input_ids_1T.shape[1]
        assert length <= tokens or len(part) == 1
