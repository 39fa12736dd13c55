"""One episode's world: typed actions in, feedback out, both success rates recorded.

Decision: grading happens here, on the host, from the JSON value the sandbox returned; the policy never learns the
verdict. Invariants: only permitted actions reach the sandbox; a message that is none costs a turn; whatever breaks
that is not the policy's fault raises :class:`~copilot.errors.InfrastructureError` and scores nothing.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from copilot.data.trajectory import Outcome
from copilot.envs import feedback as say
from copilot.envs import lookup
from copilot.envs.actions import (
    Action,
    Debug,
    ExecuteCode,
    Feedback,
    Invalid,
    RequestInfo,
    Submit,
    Terminal,
)
from copilot.envs.debugger import OfflineDebugger
from copilot.envs.prompt import Messages, PromptConfig, compose
from copilot.envs.protocols.base import WireProtocol
from copilot.envs.sandboxes.base import CellResult, Sandbox, SandboxBackend, SandboxSpec
from copilot.envs.sources.base import Source
from copilot.envs.task import Task
from copilot.reward.answers import Grade
from copilot.reward.graders import grade

ANSWER = "answer"
"""The variable in which programs leave their result; what the any-attempt rule looks at."""
MAX_TURNS = 15
"""Turns per episode, as in the paper."""
FEEDBACK_CHARS = 2000
"""Default cap on one feedback."""


@dataclass(frozen=True)
class StepResult:
    """What came of one model message."""

    action: Action
    """What it was read as."""
    feedback: Feedback
    """What the policy reads."""
    done: bool
    """Whether the episode is over."""
    attempt_correct: bool | None
    """Whether the answer now visible (variable ``answer``, or what was submitted) is right; ``None``: none is."""
    execute_seconds: float
    """Wall time of the action."""


class MedAgentEnv:
    """An episode of a task.

    Args:
        task: The question; its reference stays in this process.
        source: Serves files, preamble and the worked example.
        backend: Opens the sandbox; started, and closed by its owner.
        protocol: How actions are written.
        max_turns: Model messages per episode.
        prompt: What the policy is told first.
        feedback_chars: Cap on one feedback, in characters.
        debugger: Answers ``debug``.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        backend: SandboxBackend,
        protocol: WireProtocol,
        *,
        max_turns: int = MAX_TURNS,
        prompt: PromptConfig | None = None,
        feedback_chars: int = FEEDBACK_CHARS,
        debugger: OfflineDebugger | None = None,
    ) -> None:
        self.task, self.source, self.backend, self.protocol = task, source, backend, protocol
        self.max_turns, self.feedback_chars = max_turns, feedback_chars
        self.prompt = prompt or PromptConfig()
        self.debugger = debugger or OfflineDebugger()
        self._sandbox: Sandbox | None = None
        self._begin()

    def _begin(self) -> None:
        self.turns = 0
        self.outcome = Outcome()
        self._last_cell: tuple[str, CellResult] | None = None
        self._names: Mapping[str, Sequence[str]] | None = None

    async def reset(self, seed: int = 0) -> Messages:
        """Open a fresh sandbox and return the messages before the first turn.

        Args:
            seed: Of the sandbox's random number generators.

        Raises:
            InfrastructureError: No sandbox could be had.
            DataError: The source's files are missing.
        """
        await self.close()
        self._begin()
        files, preamble = self.source.files(self.task), self.source.preamble(self.task)
        self._sandbox = await self.backend.open(SandboxSpec(files=files, preamble=preamble, seed=seed))
        example = self.source.worked_example() if self.prompt.examples else None
        return compose(self.task, self.protocol, self.prompt, example)

    async def step(self, text: str, *, cut: bool = False) -> StepResult:
        """Carry out the first valid action of a model message.

        Args:
            text: The message.
            cut: Whether it ran into the token limit.

        Raises:
            InfrastructureError: Something broke that is not the policy's fault.
        """
        action = self.protocol.parse(text, self.task.permitted, cut=cut)
        began = time.perf_counter()
        feedback, verdict = await self._act(action)
        seconds = time.perf_counter() - began
        self.turns += 1
        if verdict is not None and verdict.correct:
            self.outcome = self.outcome.evolve(any_attempt_correct=True)
        return StepResult(
            action=action,
            feedback=say.bounded(feedback, self.feedback_chars),
            done=self.outcome.submitted or self.turns >= self.max_turns,
            attempt_correct=None if verdict is None else verdict.correct,
            execute_seconds=seconds,
        )

    async def close(self) -> None:
        """Close the sandbox; idempotent."""
        if self._sandbox is not None:
            await self._sandbox.close()
            self._sandbox = None

    @property
    def sandbox(self) -> Sandbox:
        """The open sandbox."""
        assert self._sandbox is not None, "reset() first"
        return self._sandbox

    async def _act(self, action: Action) -> tuple[Feedback, Grade | None]:
        match action:
            case Invalid():
                return say.invalid(action.reason), None
            case ExecuteCode():
                return await self._execute(action.code)
            case Submit():
                return await self._submit(action)
            case Terminal():
                return say.of_cell(await self.sandbox.terminal(action.cmd)), None
            case RequestInfo():
                return await self._look_up(action), None
            case Debug():
                return await self._debug(action), None

    async def _execute(self, code: str) -> tuple[Feedback, Grade | None]:
        result = await self.sandbox.execute(code)
        self._last_cell = (code, result)
        try:
            answer = await self.sandbox.value(ANSWER)
        except KeyError:
            return say.of_cell(result, code=code), None
        except ValueError as error:
            # There is an answer, but no JSON says it: the policy cannot submit it, and an attempt it was.
            return say.of_cell(result, code=code), Grade(correct=False, reason=str(error))
        return say.of_cell(result, code=code, answer=(answer,)), await self._judge(answer)

    async def _submit(self, action: Submit) -> tuple[Feedback, Grade | None]:
        answer = action.answer
        if action.variable:
            try:
                answer = await self.sandbox.value(action.variable)
            except KeyError:
                if answer is None:  # with both given, the answer itself stands in for a variable never set
                    return say.invalid(f"there is no variable {action.variable!r}; set it first"), None
            except ValueError as error:
                return say.invalid(f"variable {action.variable!r} cannot be submitted: {error}"), None
        verdict = await self._judge(answer)
        self.outcome = self.outcome.evolve(
            submitted=True, submitted_correct=verdict.correct, answer=answer, reason=verdict.reason
        )
        return Feedback(text="Submitted.", status="submitted"), verdict

    async def _judge(self, submitted: JsonValue) -> Grade:
        evidence = await self.source.evidence(self.task, submitted, self.sandbox, self.backend)
        return grade(self.task.reference.answer, evidence)

    async def _look_up(self, request: RequestInfo) -> Feedback:
        result = await self.sandbox.execute(lookup.cell(request))
        if result.status != "ok":
            return say.of_cell(result)
        if result.truncated_chars:
            return Feedback(text="Too much to show; name a table or a column.", truncated_chars=result.truncated_chars)
        return Feedback(text=lookup.describe(request, _json(result.stdout)), truncated_chars=result.truncated_chars)

    async def _debug(self, action: Debug) -> Feedback:
        code, result = self._last_cell or ("", None)
        if action.code and action.code != code:
            code, result = action.code, CellResult(status="error", stderr=action.error, error_message=action.error)
        if not code:
            return say.invalid("nothing has been run yet that could be debugged")
        return Feedback(text=self.debugger.explain(code, result, names=await self._data_names()))

    async def _data_names(self) -> Mapping[str, Sequence[str]]:
        """Columns by table, asked of the sandbox once; empty when it cannot say."""
        if self._names is None:
            found = _json((await self.sandbox.execute(lookup.cell(RequestInfo()))).stdout)
            listed = found.items() if isinstance(found, dict) else ()
            self._names = {name: [str(c) for c in columns] for name, columns in listed if isinstance(columns, list)}
        return self._names


def _json(text: str) -> JsonValue:
    """What the look-up program printed; ``None`` when it was cut off or tampered with."""
    try:
        found: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found
