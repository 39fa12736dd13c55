"""Paper mode of an evaluation: any printed output counts, by the published rule of the source."""

from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn
from copilot.envs.actions import ExecuteCode, Feedback, Submit
from copilot.envs.task import Reference, Task
from copilot.evaluation.paper import paper_rates
from copilot.reward.answers import IntegerAnswer


def episode(source: str, number: int, outputs: list[str], *, broken: bool = False) -> Trajectory:
    turns = [
        Turn(index=n, text="", action=ExecuteCode(code="x"), feedback=Feedback(text=text, status="error"))
        for n, text in enumerate(outputs)
    ]
    last = Turn(index=len(turns), text="", action=Submit(answer=8), feedback=Feedback(text="8", status="submitted"))
    return Trajectory(
        task_id=f"{source}/{number}",
        attempt=0,
        source=source,
        policy="p",
        protocol="json",
        prompt=({"role": "user", "content": "q"},),
        turns=(*turns, last),
        outcome=Outcome(),
        stop_reason=StopReason.FAILURE if broken else StopReason.SUBMITTED,
        failure=Failure(boundary="sandbox", message="gone") if broken else None,
    )


def test_an_episode_counts_when_any_output_passes_the_published_rule() -> None:
    tasks = {
        f"{source}/{n}": Task(
            id=f"{source}/{n}",
            source=source,
            split="test",
            question="?",
            reference=Reference(answer=IntegerAnswer(value=8)),
        )
        for source in ("mimic_iii", "ehr_sql")
        for n in range(4)
    }
    episodes = [
        episode("mimic_iii", 0, ["nothing", "line 183"]),
        episode("mimic_iii", 1, ["nothing"]),
        episode("mimic_iii", 2, []),
        episode("mimic_iii", 3, ["8"], broken=True),
        episode("mimic_iii", 9, ["8"]),
        episode("ehr_sql", 0, ["8"]),
    ]
    (row,) = paper_rates(episodes, tasks).items()
    assert row == ("mimic_iii", {"rule": "gold text is somewhere in the output", "rate": 33.33, "total": 3})
