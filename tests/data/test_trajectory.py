"""The record refuses rows whose mask and spans do not say the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from copilot.data.trajectory import TokenRow, TurnSpan


def row(length: int, mask: list[int], *spans: tuple[int, int]) -> TokenRow:
    found = tuple(TurnSpan(turn=i, start=start, end=end) for i, (start, end) in enumerate(spans))
    return TokenRow(ids=tuple(range(length)), mask=tuple(mask), spans=found)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=5))
def test_any_prompt_and_turn_lengths_are_consistent(lengths: list[tuple[int, int]]) -> None:
    mask, spans = [0], []
    for sampled, environment in lengths:
        spans.append((len(mask), len(mask) + sampled))
        mask += [1] * sampled + [0] * environment
    assert row(len(mask), mask, *spans).mask == tuple(mask)


@pytest.mark.parametrize(
    ("length", "mask", "spans"),
    [
        (3, [0, 1], [(1, 2)]),
        (3, [0, 1, 0], [(1, 3)]),
        (3, [0, 1, 1], [(1, 2)]),
        (3, [0, 1, 2], [(1, 3)]),
        (3, [0, 1, 1], [(1, 4)]),
        (2, [0, 1], []),
    ],
)
def test_inconsistent_rows_are_refused(length: int, mask: list[int], spans: list[tuple[int, int]]) -> None:
    with pytest.raises(ValidationError):
        row(length, mask, *spans)


def test_logprobs_have_the_rows_length() -> None:
    with pytest.raises(ValidationError, match="differ in length"):
        TokenRow(ids=(1, 2), mask=(0, 1), logprobs=(0.0,), spans=(TurnSpan(turn=0, start=1, end=2),))


def test_masked_samples_are_no_success(make: Any) -> None:
    assert make.trajectory().success("submitted")
    assert not make.trajectory(failed=True).success("submitted")
    assert not make.trajectory(failed=True).success("any_attempt")
