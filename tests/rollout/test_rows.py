"""Token rows: masks are 1 exactly on sampled tokens, and a prompt that cannot extend the row opens another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilot.data.trajectory import TurnSpan
from copilot.errors import InfrastructureError
from copilot.rollout.rows import RowBuilder

STOP, OTHER_STOP = 2, 3


def test_a_plain_episode_is_one_row_cut_after_its_last_sampled_token() -> None:
    rows = RowBuilder([10, 11], stop_id=STOP, temperature=0.5)
    rows.add_sampled(0, [20, STOP], [-0.5, -0.25])
    rows.add_environment([30, 31], stopped=True)
    assert rows.prompt == [10, 11, 20, STOP, 30, 31]
    rows.add_sampled(1, [21, 22, STOP], [-1.0, -2.0, -3.0])
    rows.add_environment([32], stopped=True)
    (row,) = rows.rows()
    assert row.ids == (10, 11, 20, STOP, 30, 31, 21, 22, STOP)
    assert row.mask == (0, 0, 1, 1, 0, 0, 1, 1, 1)
    assert row.logprobs == (0, 0, -0.5, -0.25, 0, 0, -1.0, -2.0, -3.0)
    assert row.spans == (TurnSpan(turn=0, start=2, end=4), TurnSpan(turn=1, start=6, end=9))
    assert row.temperature == 0.5
    assert rows.forks == 0


def test_a_cut_message_gets_a_masked_stop_token() -> None:
    rows = RowBuilder([10], stop_id=STOP, temperature=1.0)
    rows.add_sampled(0, [20, 21], None)
    rows.add_environment([30], stopped=False)
    rows.add_sampled(1, [22], None)
    (row,) = rows.rows()
    assert row.ids == (10, 20, 21, STOP, 30, 22)
    assert row.mask == (0, 1, 1, 0, 0, 1)
    assert row.logprobs is None


def test_a_foreign_stop_token_forks() -> None:
    rows = RowBuilder([10], stop_id=STOP, temperature=1.0)
    rows.add_sampled(0, [20, OTHER_STOP], [-0.1, -0.2])
    rows.add_environment([30], stopped=True)
    rows.add_sampled(1, [21, STOP], [-0.3, -0.4])
    first, second = rows.rows()
    assert first.ids == (10, 20, OTHER_STOP)
    assert first.mask == (0, 1, 1)
    assert second.ids == (10, 20, STOP, 30, 21, STOP)
    assert second.mask == (0, 0, 0, 0, 1, 1)
    assert second.spans == (TurnSpan(turn=1, start=4, end=6),)
    assert rows.forks == 1


@pytest.mark.parametrize("logprobs", [[-1.0], [-1.0, float("-inf")], [-1.0, float("nan")]])
def test_unusable_logprobs_are_the_servers_failure(logprobs: list[float]) -> None:
    with pytest.raises(InfrastructureError, match="server"):
        RowBuilder([10], stop_id=STOP, temperature=1.0).add_sampled(0, [20, STOP], logprobs)


def test_no_turn_no_row() -> None:
    assert RowBuilder([10], stop_id=STOP, temperature=1.0).rows() == ()


tokens = st.lists(st.integers(4, 99), min_size=1, max_size=4)


@given(prompt=tokens, turns=st.lists(st.tuples(tokens, st.sampled_from([STOP, OTHER_STOP, None]), tokens), max_size=5))
def test_every_sampled_token_is_trained_exactly_once(
    prompt: list[int], turns: list[tuple[list[int], int | None, list[int]]]
) -> None:
    rows = RowBuilder(prompt, stop_id=STOP, temperature=1.0)
    for number, (text, stop, environment) in enumerate(turns):
        ids = text + ([stop] if stop is not None else [])
        rows.add_sampled(number, ids, [-1.0] * len(ids))
        rows.add_environment(environment, stopped=stop is not None)
    trained = [(s.turn, list(r.ids[s.start : s.end])) for r in rows.rows() for s in r.spans]
    expected = [(n, text + ([stop] if stop is not None else [])) for n, (text, stop, _) in enumerate(turns)]
    assert trained == expected
    assert rows.forks == sum(stop == OTHER_STOP for _, stop, _ in turns)
