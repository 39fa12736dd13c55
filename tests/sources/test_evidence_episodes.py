"""Episodes on sources whose grader needs evidence: demonstrations are right in both rates, idling in neither."""

import asyncio

import pytest

from copilot.data.trajectory import Outcome
from copilot.envs.actions import Action, Submit
from copilot.envs.environment import MedAgentEnv
from copilot.envs.protocols.base import get_protocol
from copilot.envs.sandboxes.base import SandboxConfig, make_backend
from copilot.envs.sources.base import Source, get_source
from copilot.envs.sources.biocoder import rosalind
from copilot.envs.task import Reference, Task
from copilot.reward.answers import OutputsAnswer

PROTOCOL = get_protocol("json")


def play(source: Source, task: Task, actions: tuple[Action, ...]) -> Outcome:
    async def run() -> Outcome:
        backend = make_backend(SandboxConfig(require="none"))
        await backend.start()
        env = MedAgentEnv(task, source, backend, PROTOCOL)
        try:
            await env.reset()
            for action in actions:
                await env.step(PROTOCOL.render(action))
            return env.outcome
        finally:
            await env.close()
            await backend.close()

    return asyncio.run(run())


def coding_task() -> Task:
    problem = rosalind.PROBLEMS[0]
    inputs, outputs = rosalind.cases(problem)
    reference = Reference(
        answer=OutputsAnswer(inputs=tuple(inputs), outputs=tuple(outputs)), program=f"answer = {problem.solution!r}"
    )
    return Task(
        id="biocoder/test_form/dna",
        source="biocoder",
        split="test_form",
        question=problem.statement,
        reference=reference,
    )


@pytest.mark.parametrize("name", ["biocoder", "medagentbench"])
def test_demonstrations_are_right_and_idling_is_not(name: str) -> None:
    source = get_source(name)
    task = coding_task() if name == "biocoder" else next(source.tasks("test_form"))
    done = play(source, task, source.demonstration(task))
    assert done.submitted
    assert done.submitted_correct
    assert done.any_attempt_correct
    idle = play(source, task, (Submit(answer="done"),))
    assert idle.submitted
    assert not idle.submitted_correct
    assert not idle.any_attempt_correct
