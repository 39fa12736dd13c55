"""Feedback: never longer than its cap, head and tail kept, and every character accounted for."""

import re

from hypothesis import given
from hypothesis import strategies as st

from copilot.envs.actions import Feedback
from copilot.envs.feedback import MIN_CAP, bounded, of_cell, truncate
from copilot.envs.sandboxes.base import CellResult

NOTE = re.compile(r"\n\[\.\.\. (\d+) characters left out \.\.\.\]\n")


@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="["), max_size=2000), cap=st.integers(MIN_CAP, 1000)
)
def test_head_and_tail_are_kept_and_the_rest_is_counted(text: str, cap: int) -> None:
    kept, dropped = truncate(text, cap)
    assert len(kept) <= cap
    if len(text) <= cap:
        assert (kept, dropped) == (text, 0)
        return
    head, number, tail = NOTE.split(kept)
    assert int(number) == dropped == len(text) - len(head) - len(tail)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert 0 <= len(head) - len(tail) <= 1


@given(cap=st.integers(MIN_CAP, 5000))
def test_at_the_cap_nothing_is_lost_and_one_over_the_note_appears(cap: int) -> None:
    assert truncate("x" * cap, cap) == ("x" * cap, 0)
    kept, dropped = truncate("x" * (cap + 1), cap)
    assert len(kept) <= cap
    assert dropped == cap + 1 - kept.count("x")  # the note has no x
    assert NOTE.search(kept)


def test_what_the_sandbox_left_out_is_counted_too() -> None:
    feedback = Feedback(text="y" * 500, truncated_chars=7)
    kept, dropped = truncate("y" * 500, 200)
    assert bounded(feedback, 200) == Feedback(text=kept, truncated_chars=7 + dropped)
    assert bounded(feedback, 500) is feedback


def test_cells_say_how_they_ended() -> None:
    assert of_cell(CellResult(status="ok")).text == "(no output)"
    assert of_cell(CellResult(status="ok"), answer=(None,)).text == "answer = null"
    assert (
        of_cell(CellResult(status="ok"), answer=([1 / 3, {"a": 2e9 + 0.1}],)).text
        == 'answer = [0.333333, {"a": 2000000000.0}]'
    )
    assert of_cell(CellResult(status="ok", stdout="1\n"), answer=(1,)).text == "1"
    assert of_cell(CellResult(status="memory", state_lost=True)).text == "Out of memory. Variables are lost."
    assert of_cell(CellResult(status="timeout", seconds=5.01)).text == "Timeout after 5 s."
    assert of_cell(CellResult(status="error", stderr="sh: nope\n")).text == "sh: nope"
