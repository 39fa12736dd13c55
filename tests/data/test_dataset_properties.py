"""Properties of every dataset: masks only on sampled tokens, ids as recorded, and everything accounted for."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.data.build_sft import IGNORED
from copilot.data.dataset import DatasetConfig, DatasetReport, build_dataset
from copilot.data.mixture import select
from copilot.data.rows import Row, Sample
from copilot.data.trajectory import TokenRow, Trajectory, Turn
from copilot.envs.actions import Action, ExecuteCode, Feedback, Invalid, Submit
from copilot.errors import EmptyDatasetError

ids = st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)
actions: st.SearchStrategy[Action] = st.one_of(
    st.sampled_from(["x = 1", "answer = x", "answer = 1", "def f(: bad"]).map(lambda code: ExecuteCode(code=code)),
    st.just(Submit(variable="answer")),
    st.just(Invalid(reason="?")),
)


@st.composite
def trajectories(draw: st.DrawFn, make: Any, number: int) -> Trajectory:
    steps: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        action = draw(actions)
        status = {"submit": "submitted", "invalid": "invalid"}.get(action.type)
        status = status or draw(st.sampled_from(["ok", "error", "timeout"]))
        step = make.code(draw(ids), status=status, correct=draw(st.sampled_from([None, True, False])))
        steps.append(type(step)(**{**vars(step), "action": action, "env_ids": draw(ids)}))
    if draw(st.booleans()):
        steps.append(make.submit(draw(ids)))
    cut = draw(st.integers(0, len(steps)))
    prompt = draw(st.sampled_from([(1, 2), (1, 3)]))
    forked = (make.row(prompt, steps[:cut]), make.row((9, *prompt), steps[cut:], first_turn=cut))
    return make.trajectory(
        task_id=f"demo/train/{draw(st.integers(0, 1))}",
        attempt=number,
        steps=steps,
        correct=draw(st.booleans()),
        prompt=prompt,
        rows=draw(st.sampled_from([None, None, None, (), forked])),
        failed=draw(st.integers(0, 9)) == 0,
        template=draw(st.sampled_from(["t0", "t1"])),
    )


configs = st.builds(
    DatasetConfig,
    format=st.sampled_from(["sft", "dpo", "kto"]),
    filters=st.lists(
        st.sampled_from(
            [{"type": "success", "rule": "any_attempt"}, {"type": "duplicates", "near": True}, {"type": "error_loops"}]
        ),
        max_size=2,
    ),
    mask_errors=st.booleans(),
    max_tokens=st.sampled_from([None, 8, 12]),
    max_per_task=st.sampled_from([None, 1]),
    max_per_template=st.sampled_from([None, 2]),
    limit=st.sampled_from([None, 3]),
)


def build(samples: list[Sample], config: DatasetConfig, **rest: Any) -> tuple[list[Row], DatasetReport] | None:
    try:
        return build_dataset(samples, config, **rest)
    except EmptyDatasetError:
        return None


@settings(max_examples=150, deadline=None)
@given(data=st.data(), config=configs)
def test_everything_is_accounted_for_and_token_exact(make: Any, data: st.DataObject, config: DatasetConfig) -> None:
    found = [data.draw(trajectories(make, number)) for number in range(data.draw(st.integers(1, 6)))]
    samples = [Sample("ab"[number % 2], trajectory) for number, trajectory in enumerate(found)]
    built = build(samples, config, seed=3)
    if built is None:
        return
    rows, report = built
    assert built == build(samples, config, seed=3)
    assert report.input == len(samples) == report.used + report.dropped.total()
    assert report.candidates == len(rows) + report.rows_dropped.total()
    assert report.used == len({ref for row in rows for ref in row.parents})
    looked_at = sum(len(t.rows) if config.format == "sft" else 1 for t in found if not t.masked)
    assert config.format == "dpo" or config.filters or report.candidates == looked_at
    by_ref = {sample.ref: sample.trajectory for sample in samples}
    for row in rows:
        CHECKS[config.format](row, [by_ref[ref] for ref in row.parents], config)


def check_sft(row: Row, parents: list[Trajectory], config: DatasetConfig) -> None:
    (trajectory,) = parents
    ids, labels = row.record["input_ids"], row.record["labels"]
    assert any(
        list(t.ids[: len(ids)]) == ids and labels == [t.ids[i] if i in trained else IGNORED for i in range(len(ids))]
        for t in trajectory.rows
        for trained in [sampled(t, {x.index for x in trajectory.turns if not (config.mask_errors and x.failed)})]
    )
    assert labels[-1] != IGNORED


def check_kto(row: Row, parents: list[Trajectory], config: DatasetConfig) -> None:
    (trajectory,) = parents
    check_side(row.record["prompt_ids"], row.record["completion_ids"], row.record["completion_mask"], trajectory)
    assert row.record["label"] == trajectory.success(config.success)


def check_dpo(row: Row, parents: list[Trajectory], config: DatasetConfig) -> None:
    record, (chosen, rejected) = row.record, (parents[0], parents[-1])
    check_side(record["prompt_ids"], record["rejected_ids"], record["rejected_mask"], rejected)
    assert chosen.success(config.success)
    if record["kind"] == "best_vs_worst":
        check_side(record["prompt_ids"], record["chosen_ids"], record["chosen_mask"], chosen)
        assert not rejected.success(config.success)
        return
    assert record["chosen_ids"] != record["rejected_ids"]
    assert any(
        list(t.ids[: len(record["prompt_ids"])]) == record["prompt_ids"]
        and any(list(t.ids[s.start : s.end]) == record["chosen_ids"] for s in t.spans)
        for t in chosen.rows
    )


def check_side(prompt: list[int], completion: list[int], mask: list[int], trajectory: Trajectory) -> None:
    """Prompt and completion are recorded ids; the mask is the recorded one."""
    end = len(prompt) + len(completion)
    assert any(
        list(t.ids[:end]) == prompt + completion and list(t.mask[len(prompt) : end]) == mask for t in trajectory.rows
    )


def sampled(row: TokenRow, turns: set[int]) -> set[int]:
    return {i for span in row.spans if span.turn in turns for i in range(span.start, span.end)}


CHECKS = {"sft": check_sft, "dpo": check_dpo, "kto": check_kto}


def rows_of(stores: list[str], templates: list[int]) -> list[Row]:
    return [
        Row({"task_id": f"task{i}"}, ((store, f"task{i}", 0),), store, "demo", f"t{template}", 1, 1)
        for i, (store, template) in enumerate(zip(stores, templates, strict=True))
    ]


@given(templates=st.lists(st.integers(0, 4), max_size=40), limit=st.integers(1, 20), seed=st.integers(0, 3))
def test_a_limit_takes_max_min_fair_shares_of_templates(templates: list[int], limit: int, seed: int) -> None:
    picked = select(rows_of(["a"] * len(templates), templates), limit=limit, seed=seed)
    assert len(picked.rows) == min(limit, len(templates))
    left = {row.record["task_id"] for row in rows_of(["a"] * len(templates), templates)}
    left -= {row.record["task_id"] for row in picked.rows}
    counts = {t: sum(row.template == f"t{t}" for row in picked.rows) for t in set(templates)}
    incomplete = [counts[t] for t in set(templates) if counts[t] < templates.count(t)]
    assert all(count <= fewest + 1 for count in counts.values() for fewest in incomplete)
    assert len(left) == picked.rows_dropped.total()


@given(first=st.integers(1, 30), second=st.integers(1, 30), share=st.sampled_from([0.25, 0.5, 0.9]))
def test_shares_hold_up_to_rounding(first: int, second: int, share: float) -> None:
    rows = rows_of(["a"] * first + ["b"] * second, [0] * (first + second))
    picked = select(rows, shares={"a": share, "b": 1 - share})
    a, b = (sum(row.store == name for row in picked.rows) for name in "ab")
    total = min(first / share, second / (1 - share))
    assert abs(a - share * total) < 1
    assert abs(b - (1 - share) * total) < 1


def test_masked_turns_count_every_failed_status() -> None:
    turn = Turn(index=0, text="", action=Invalid(reason=""), feedback=Feedback(text=""))
    failed = {
        s for s in ("ok", "error", "timeout", "memory", "crashed", "invalid", "submitted") if _with(turn, s).failed
    }
    assert failed == {"error", "timeout", "memory", "crashed", "invalid"}


def _with(turn: Turn, status: str) -> Turn:
    return turn.evolve(feedback=Feedback.model_validate({"text": "", "status": status}))
