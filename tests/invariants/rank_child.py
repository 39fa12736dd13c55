"""What one rank does in ``test_ranks_equal.py``: run by path in a process of its own."""

import json
import math
import os
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from peft import PeftModel
from torch.distributed.tensor import DTensor

from copilot.online.config import CriticSettings, CriticTrunk, GrpoConfig, OnlineTraining, PpoConfig
from copilot.online.episodes import Episode
from copilot.online.estimators import Batch, group_relative, with_critic
from copilot.online.head_fit import HeadFit
from copilot.online.loading import make_parts
from copilot.online.model import ActorCritic, AdapterActorCritic, FullActorCritic
from copilot.online.optimizer import Part
from copilot.online.packing import filler
from copilot.online.ranks import Ranks
from copilot.online.sharding import shard, whole
from copilot.online.update import Updater
from copilot.online.zero import ZeroPart
from copilot.policy.factory import Weights
from copilot.training.weights import load_trainable, lora_config

sys.path.insert(0, str(Path(__file__).parent))
from uneven import make_rows

STEPS = 3
TRAINING = {"learning_rate": 5e-3, "warmup_ratio": 0.0, "lora": {"r": 4, "alpha": 8}, "forward_tokens": 120}
CRITIC = {"learning_rate": 1e-2, "lora": {"r": 4, "alpha": 8}, "warmup_steps": 1}
ROLLOUT = {"sampling": {"temperature": 0.7, "max_tokens": 16}}


def batch(step: int) -> Batch:
    """Rows of very uneven groups, with rewards; the same in every process."""
    rng, episodes, groups = random.Random(step), list[Episode](), list[int]()
    for row in make_rows(5, 4, seed=step, turns=1 + 3 * (step % 2)):
        row.episode = len(episodes)
        groups.append(row.group)
        masked = rng.random() < 0.1
        episodes.append(
            Episode(
                task_id="t",
                source="s",
                reward=0.0 if masked else rng.random(),
                terms={},
                mask="no reward" if masked else "",
                solved=False,
                turns=1,
                tokens=len(row.trained),
                rows=[] if masked else [row],
            )
        )
    return Batch(episodes, groups)


def losses(tiny: str, folder: Path, kind: str, aggregation: str, weights: str) -> list[dict[str, float]]:
    """The figures of :data:`STEPS` steps by this process among all, which leave their weights and state in ``folder``.

    Args:
        tiny: The model.
        folder: What is saved.
        kind: ``grpo``, ``ppo`` or ``ppo-frozen`` (the trunk of its critic, and siblings as baseline).
        aggregation: Of the loss.
        weights: ``lora`` or ``full``; with ``-sharded``, ``-zero2``, ``-zero3`` several processes split them.
    """
    raw = {"id": "rl", "suite": "starter", "rollout": ROLLOUT, "training": TRAINING}
    raw["loss"] = {"aggregation": aggregation, "entropy": 0.01}
    if kind == "ppo-frozen":
        raw |= {"baseline": "group", "group_size": 4}
    config = GrpoConfig.model_validate(raw) if kind == "grpo" else PpoConfig.model_validate(raw)
    ranks = Ranks()
    trunk: CriticTrunk = "frozen" if kind == "ppo-frozen" else "trained"
    critic = None if kind == "grpo" else CriticSettings.model_validate(CRITIC | {"trunk": trunk})
    torch.manual_seed(0)
    method, _, engine = weights.partition("-")
    loaded = load_trainable(Weights(tiny), config.training.model_copy(update={"method": method}), dtype=torch.float32)
    model: ActorCritic
    if isinstance(loaded, PeftModel):
        shape = lora_config(config.training) if critic else None
        model = AdapterActorCritic(loaded, reference=None, keep_reference=True, critic=shape, critic_trunk=trunk)
    else:
        model = FullActorCritic(loaded, keep_reference=True, critic=trunk if critic else None)
    if ranks.size > 1 and engine == "sharded":
        model.shard(shard)
        held = [*model.actor_parameters().values(), *model.critic_parameters().values()]
        assert all(isinstance(parameter, DTensor) for parameter in held)
        assert sum(p.to_local().numel() for p in held) < 0.6 * sum(p.numel() for p in held)
    training = OnlineTraining.model_validate(TRAINING | {"minibatches": 2})
    if ranks.size > 1 and engine.startswith("zero"):
        training = training.model_copy(update={"deepspeed": engine})
    parts = make_parts(training, critic, model)
    if training.deepspeed:
        assert_split(parts.values())
    updater = Updater(
        model=model,
        policy=parts["policy"],
        critic=parts.get("critic"),
        ranks=ranks,
        training=training,
        loss=config.loss,
        critic_settings=critic,
        steps=STEPS,
        row_constant=64,
        seed=0,
        head_fit=HeadFit(model.head, ranks.device) if model.head else None,
    )
    estimate = with_critic(config) if isinstance(config, PpoConfig) else group_relative("std")
    figures = []
    for step in range(1, STEPS + 1):
        data = batch(step)
        mine = updater.share(data.rows)
        assert ranks.size == 1 or 0 < len(mine) < len(data.rows)
        estimated = estimate(data, mine, model, ranks, updater.fitted(step))
        figures.append(estimated | updater.run(step, data.rows, mine))
        if step == 1:  # what is saved in shards or whole goes on in either
            for part in updater.parts():
                part.save(folder, writes=ranks.is_main)
            ranks.wait()
            for part in updater.parts():
                part.load(folder)
    model.save_policy(folder / "policy", writes=ranks.is_main)
    if critic:
        model.save_critic(folder / "critic", writes=ranks.is_main)
    stays_without_a_gradient(model, parts["policy"], ranks)
    return figures


def stays_without_a_gradient(model: ActorCritic, policy: Part, ranks: Ranks) -> None:
    """A gradient that is not finite moves nothing."""
    before = [whole(parameter).clone() for parameter in policy.parameters.values()]
    (math.nan * model.act(filler(ranks.device)).logps_N.sum()).backward()  # type: ignore[no-untyped-call]
    assert policy.step(STEPS, STEPS, ranks)["skipped"] == 1
    for old, parameter in zip(before, policy.parameters.values(), strict=True):
        assert torch.equal(whole(parameter), old)


def assert_split(parts: Iterable[Part]) -> None:
    """Each process holds its share of what AdamW moves and, in ZeRO-3, of the weights."""
    trained = {parameter for part in parts for parameter in part.parameters.values()}
    for engine in {part.engine for part in parts if isinstance(part, ZeroPart)}:
        weights = list(engine.module.parameters())
        whole_sizes = {weight: getattr(weight, "ds_numel", weight.numel()) for weight in weights}
        moved = sum(size for weight, size in whole_sizes.items() if weight in trained)
        assert sum(flat.numel() for flat in engine.flats()) < 0.6 * moved
        if engine.module.zero_optimization_stage() == 3:  # between forwards what is split is empty
            assert sum(weight.numel() for weight in weights) < 0.1 * sum(whole_sizes.values())


def main(job: dict[str, str]) -> None:
    os.environ.update(json.loads(job["env"]))
    torch.set_num_threads(1)
    result = Path(job["result"])
    found = losses(job["tiny"], result.parent, job["kind"], job["aggregation"], job["weights"])
    result.write_text(json.dumps(found))
