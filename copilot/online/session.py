"""Everything an online stage holds while it runs, and how it comes up: model, optimisers, rollouts, progress."""

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from copilot.envs.protocols import get_protocol
from copilot.envs.task import Task
from copilot.errors import RecipeError
from copilot.online.collector import Collector
from copilot.online.config import CriticSettings, OnlineStage
from copilot.online.curriculum import Curriculum
from copilot.online.episodes import Choice, Group, Verdict, allowance, choose
from copilot.online.estimators import Batch, Estimator
from copilot.online.head_fit import HeadFit
from copilot.online.loading import load_model, make_parts
from copilot.online.model import ActorCritic, FullActorCritic
from copilot.online.ranks import Ranks
from copilot.online.sharding import whole
from copilot.online.state import Progress, Resumable, clean, load_checkpoint, save_checkpoint
from copilot.online.telemetry import success_by_task
from copilot.online.update import Updater
from copilot.online.visibility import check_visible
from copilot.policy.adapters import PROBE
from copilot.policy.config import TransformersConfig, VllmConfig
from copilot.policy.factory import make_policy, resolve_weights
from copilot.policy.versions import VersionedPolicy
from copilot.rollout.rendering import Renderer
from copilot.rollout.selection import gather_tasks
from copilot.stages.base import StageContext
from copilot.training.loop import use_threads
from copilot.training.recording import cut_losses
from copilot.training.weights import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from copilot.verifier.base import Scorer

_POLL = 0.02
_PROBE_VERSION = -1


@dataclass(frozen=True)
class Algorithm:
    """What tells PPO from GRPO."""

    estimate: Estimator
    """Advantages."""
    critic: CriticSettings | None = None
    """The critic, where there is one."""


@dataclass
class Session:
    """A stage at work."""

    config: OnlineStage
    """The stage's section of the recipe."""
    ctx: StageContext
    """Its folder and seed."""
    algorithm: Algorithm
    """GRPO or PPO."""
    ranks: Ranks
    """The processes."""
    model: ActorCritic
    """What is trained."""
    updater: Updater
    """How."""
    collector: Collector
    """Rollouts."""
    curriculum: Curriculum
    """Which tasks are played."""
    tasks: dict[str, Task]
    """All tasks, by id."""
    tokenizer: "PreTrainedTokenizerBase"
    """Of the base model."""
    progress: Progress
    """How far it is."""
    groups: dict[int, Group] = field(default_factory=dict)
    """Finished groups not used yet."""

    @property
    def parts(self) -> list[Resumable]:
        """What a checkpoint of now holds files of."""
        fitting = self.updater.fitted(self.progress.step) is not None
        return [part for part in self.updater.parts() if fitting or not isinstance(part, HeadFit)]

    @property
    def checkpoints(self) -> Path:
        """Where the stage keeps its resumable state."""
        return self.ctx.folder / "checkpoints"

    def next_groups(self) -> tuple[list[Group], list[Group], Choice]:
        """Wait for the groups of the next step; the same on every rank.

        Returns:
            The groups to train on; all that were played for the step, replaced and refused ones included; the choice.
        """
        while True:
            for finished in self.ranks.gather(self.collector.harvest()):
                self.groups |= {group.index: group for group in finished}
            version, cursor = self.progress.step, self.progress.cursor
            choice = choose(self._verdicts(), cursor=cursor, version=version, config=self.config)
            if choice is not None:
                break
            self._allow(training=False)
            time.sleep(_POLL)
        played = [self.groups[index] for index in range(cursor, choice.cursor)]
        taken = [self.groups[index] for index in choice.taken]
        self.progress.cursor = choice.cursor
        self.groups = {index: group for index, group in self.groups.items() if index >= choice.cursor}
        self._allow(training=True)
        if self.config.staleness.bound == 0:
            self.collector.run(self.collector.policy.sleep())
        return taken, played, choice

    def advance(self, played: Sequence[Group]) -> None:
        """The step is done: count it, remember how its tasks went, and serve the new weights."""
        self.progress.step += 1
        self.curriculum.learn(success_by_task([episode for group in played for episode in group.episodes]))
        self.progress.rates = self.curriculum.state()
        self.publish(self.progress.step)

    def save(self) -> None:
        """Make the step one that a killed run goes on from; its record is on disk already."""
        if self.progress.step % self.config.training.save_every_steps == 0:
            save_checkpoint(self.checkpoints, self.progress, self.parts, writes=self.ranks.is_main)

    def publish(self, version: int) -> None:
        """Have every rank's engine serve the policy as ``version``."""
        run, policy = self.collector.run, self.collector.policy
        run(policy.wake())
        if self.config.training.method == "lora":
            folder = self._write_served(version)
            run(policy.publish(version, str(folder)))
            return
        run(policy.hold())
        self.ranks.wait()  # a server that all ranks share has nothing under way now
        self._replace_weights(version)
        self.ranks.wait()
        run(policy.serve(version))

    def _write_served(self, version: int) -> Path:
        """Write the policy, and forget versions that no turn can have begun with."""
        served = self.ctx.folder / "served"
        write_whole(self.model, served / f"v{version}", writes=self.ranks.is_main)
        if self.ranks.is_main:
            for old in served.glob("v*"):
                if int(old.name[1:]) < version - self.config.staleness.bound - 1:
                    shutil.rmtree(old)
        self.ranks.wait()
        return served / f"v{version}"

    def _replace_weights(self, version: int) -> None:
        """Full weights into this rank's server, or by rank 0 into the one that all share."""
        run, policy, served_by = self.collector.run, self.collector.policy, self.config.policy
        vllm = served_by if isinstance(served_by, VllmConfig) else None
        mine = self.ranks.is_main or not (vllm and vllm.url)
        if vllm is None or vllm.weight_sync == "files":
            folder = self._write_served(version)
            if mine:
                run(policy.load_weights(str(folder)))
            return
        assert isinstance(self.model, FullActorCritic)
        tensors = self.model.policy_weights()
        if mine:
            run(policy.take_weights(tensors, whole))
            return
        for tensor in tensors.values():
            whole(tensor)  # its shard, for rank 0

    def finish(self) -> None:
        """Leave the weights, as later stages and engines load them, and tidy up."""
        main = self.ranks.is_main
        if self.algorithm.critic is not None:
            if main:
                shutil.rmtree(self.ctx.folder / "critic", ignore_errors=True)
            self.model.save_critic(self.ctx.folder / "critic", writes=main)
        write_whole(self.model, self.ctx.folder / "weights", self.tokenizer, writes=main)
        if main:
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            shutil.rmtree(self.ctx.folder / "served", ignore_errors=True)
        self.ranks.wait()

    def close(self) -> None:
        """End the rollouts and the engine."""
        self.collector.close()

    def _verdicts(self) -> dict[int, Verdict]:
        return {index: group.verdict() for index, group in self.groups.items()}

    def _allow(self, *, training: bool) -> None:
        limit = allowance(
            self._verdicts(),
            cursor=self.progress.cursor,
            version=self.progress.step,
            training=training,
            config=self.config,
        )
        if self.ranks.is_main:
            begin = len(self.curriculum.dealt)
            self.collector.announce(begin, self.curriculum.deal(limit))
        self.collector.allow(limit)


def write_whole(
    model: ActorCritic, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None, *, writes: bool
) -> None:
    """Save the policy so that the folder is there complete or not at all; every process calls it, one ``writes``."""
    partial = folder.with_name(f".{folder.name}.partial")
    if writes:
        shutil.rmtree(partial, ignore_errors=True)
    model.save_policy(partial, writes=writes)
    if not writes:
        return
    if tokenizer is not None:
        tokenizer.save_pretrained(partial)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)


def open_session(config: OnlineStage, ctx: StageContext, algorithm: Algorithm) -> Session:
    """Load everything, go on from the last checkpoint, serve the weights, and begin to play."""
    use_threads(ctx.world_size)
    ranks = _join(ctx)
    if ranks.size == 1:  # nothing to split
        alone = config.training.model_copy(update={"deepspeed": "", "sharding": "none"})
        config = config.model_copy(update={"training": alone})
    tasks = {task.id: task for task in gather_tasks(config, where=config.id)}
    start = resolve_weights(ctx, config.adapter)
    tokenizer = load_tokenizer(start.model)
    Renderer(tokenizer, get_protocol(config.rollout.protocol))  # a template that rewrites messages ends it here
    torch.manual_seed(ctx.seed)  # a new adapter starts at random
    model = load_model(config, ctx, start, algorithm.critic, ranks.device)
    updater = _updater(config, ctx, model, algorithm, ranks)
    ctx.folder.mkdir(parents=True, exist_ok=True)
    progress = load_checkpoint(ctx.folder / "checkpoints", updater.parts())
    seed = ctx.seed
    kinds = {name: f"{task.source}/{task.template}" for name, task in tasks.items()}
    curriculum = Curriculum(kinds, config.curriculum, seed=seed, file=ctx.folder / "deals.jsonl")
    curriculum.restore(progress.rates)
    policy = VersionedPolicy(
        make_policy(
            _engine_config(config),
            model=start.model,
            device=ctx.local_rank if torch.cuda.is_available() else None,
            log_folder=ctx.folder / "logs" / f"rank{ctx.rank}",
        )
    )
    scorer = _scorer(config, ctx)
    collector = Collector(config, tasks, policy, ranks, folder=ctx.folder / "rollouts", seed=seed, scorer=scorer)
    collector.resume(cursor=progress.cursor, dealt=len(curriculum.dealt))
    ranks.wait()
    if ranks.is_main:
        clean(ctx.folder / "checkpoints")
        cut_losses(ctx.folder / "steps.jsonl", progress.step)
        collector.announce(progress.cursor, curriculum.dealt[progress.cursor :])
    session = Session(config, ctx, algorithm, ranks, model, updater, collector, curriculum, tasks, tokenizer, progress)
    _serve(session)
    return session


def _serve(session: Session) -> None:
    """Bring the engine up, prove that updates reach it, serve the weights as they are, and begin to play."""
    collector, tokenizer = session.collector, session.tokenizer
    try:
        collector.run(collector.policy.start())
        seen = check_visible(
            session.model,
            list(tokenizer(PROBE, add_special_tokens=False)["input_ids"]),
            push=lambda: session.publish(_PROBE_VERSION),
            sample=lambda request: collector.run(collector.policy.generate(request)),
            device=session.ranks.device,
        )
        session.ctx.log(server_difference_at_start=seen.changed, pushed_change=seen.unchanged)
        session.publish(session.progress.step)
        collector.begin()
    except BaseException:
        session.close()
        raise


def _engine_config(config: OnlineStage) -> VllmConfig | TransformersConfig:
    """The engine, ready for what will be pushed to it: adapters, or full weights."""
    if isinstance(config.policy, VllmConfig) and config.training.method == "full":
        return config.policy.model_copy(update={"full_weights": True, "max_lora_rank": 0})
    return config.policy


def _scorer(config: OnlineStage, ctx: StageContext) -> "Scorer | None":
    if config.verifier is None:
        return None
    from copilot.verifier.factory import make_scorer

    return make_scorer(
        ctx.locate(config.verifier.weights, "weights"),
        config.verifier.engine,
        log_folder=ctx.folder / "logs" / f"verifier{ctx.rank}",
        device=ctx.local_rank if torch.cuda.is_available() else None,
    )


def _updater(config: OnlineStage, ctx: StageContext, model: ActorCritic, algorithm: Algorithm, ranks: Ranks) -> Updater:
    training, critic = config.training, algorithm.critic
    parts = make_parts(training, critic, model)
    engine = f"deepspeed-{training.deepspeed}" if training.deepspeed else "fsdp" if model.sharded else "replicated"
    ctx.log(engine=engine, world_size=ctx.world_size)
    return Updater(
        model=model,
        policy=parts["policy"],
        critic=parts.get("critic"),
        ranks=ranks,
        training=training,
        loss=config.loss,
        critic_settings=critic,
        steps=config.steps,
        row_constant=config.rollout.max_turns * config.rollout.sampling.max_tokens,
        seed=ctx.seed,
        head_fit=HeadFit(model.head, ranks.device) if critic and critic.fits_head(1) and model.head else None,
    )


def _join(ctx: StageContext) -> Ranks:
    for engine in ("DEEPSPEED", "FSDP"):
        if os.environ.get(f"ACCELERATE_USE_{engine}", "false").lower() == "true":
            raise RecipeError(
                f"accelerate was started with {engine}, which online stages set up themselves",
                remedy="start with launch/accelerate/multi_gpu.yaml, and set training.sharding: fsdp or "
                "training.deepspeed: zero2 (zero3) in the recipe",
            )
    ranks = Ranks()
    if ranks.size != ctx.world_size:
        raise RecipeError(
            f"accelerate sees {ranks.size} processes, the run has {ctx.world_size}",
            remedy="start it with `accelerate launch` (on CPU: ACCELERATE_USE_CPU=true and --multi_gpu)",
        )
    return ranks


def make_batch(groups: Sequence[Group]) -> Batch:
    """The groups of a step as one batch; rows are told their episode and group."""
    episodes = [episode for group in groups for episode in group.episodes]
    numbers = [number for number, group in enumerate(groups) for _ in group.episodes]
    for place, (episode, number) in enumerate(zip(episodes, numbers, strict=True)):
        for row in episode.rows:
            row.episode, row.group = place, number
    return Batch(episodes, numbers)
