"""Equal questions leave the training rows; shared phrases are counted."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from copilot.data.decontaminate import find_overlap, ngrams, question_of, words
from copilot.data.rows import Sample
from copilot.envs.task import Reference, Task
from copilot.reward.answers import IntegerAnswer

LONG = "how many patients were given aspirin in the last hospital visit of the year 2100"


def task(id: str, question: str, context: str = "") -> Task:
    reference = Reference(answer=IntegerAnswer(value=1))
    return Task(id=id, source="demo", split="test", question=question, context=context, reference=reference)


def sample(make: Any, id: str, question: str) -> Sample:
    return Sample("s", make.trajectory(id, question=question))


def test_exact_and_ten_word_overlap(make: Any) -> None:
    found = [
        sample(make, "train/0", "How many patients?"),
        sample(make, "train/1", LONG + ", and when"),
        sample(make, "train/2", "something else altogether"),
        sample(make, "test/1", "asked under its own id"),
    ]
    held_out = [task("test/0", "how MANY patients"), task("test/1", LONG + " for men"), task("test/2", "unasked")]
    overlap = find_overlap(found, held_out)
    assert overlap.reasons() == {("s", "train/0", 0): "held-out question", ("s", "test/1", 0): "held-out task"}
    assert overlap.shared_ngram == {("s", "train/1", 0)}
    assert (overlap.held_out, overlap.held_out_same, overlap.held_out_shared) == (3, {"test/0"}, {"test/1"})
    assert overlap.as_dict()["held_out_same_ids"] == ["test/0"]


def test_what_all_tasks_of_a_source_share_is_no_overlap(make: Any) -> None:
    schema = "tables are " + " ".join(f"table{i}" for i in range(30))
    found = [sample(make, "train/0", f"{schema} who is it")]
    assert not find_overlap(found, [task("test/0", f"{schema} when was it", context=schema)]).shared_ngram
    assert find_overlap(found, [task("test/0", f"{schema} when was it")]).shared_ngram


def test_the_question_is_the_last_prompt_message_when_not_recorded(make: Any) -> None:
    assert question_of(make.trajectory("demo/train/5")) == "Question of demo/train/5?"


@given(st.text(alphabet="ab c,.\n", max_size=60), st.integers(1, 6))
def test_ngrams_are_the_runs_of_words(text: str, n: int) -> None:
    found = words(text)
    assert ngrams(text, n) == {found[i : i + n] for i in range(max(0, len(found) - n + 1))}
    assert all(len(gram) == n for gram in ngrams(text, n))
