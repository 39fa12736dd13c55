"""Start-up check: a change pushed to the server is seen in its log-probabilities, or nothing is trained.

An adapter that never reaches the server looks like ordinary staleness, for days. So before the first step the weights
are changed on purpose, pushed as any update is, sampled from, and put back. The server must then agree with the trainer
on the changed weights better than on the unchanged ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from copilot.envs.task import Reference, Task
from copilot.errors import ServerError
from copilot.online.model import ActorCritic
from copilot.online.packing import Pack, build_pack
from copilot.online.rows import TrainRow
from copilot.online.sharding import alike, held, put
from copilot.policy.adapters import PROBE
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.reward.answers import StringAnswer

EFFECT = 0.5
"""Mean change in nats per token that the pushed change must make by the trainer's own account."""
_TOKENS = 32
_SAMPLES = 4
_GROWTHS = 14


@dataclass(frozen=True)
class Seen:
    """What the check found, in nats per sampled token."""

    changed: float
    """Mean difference between the server and the trainer's changed weights."""
    unchanged: float
    """The same for the weights before the change."""


def probe_request(prompt_ids: list[int], seed: int) -> GenerationRequest:
    """A request that has nothing to do with any task."""
    task = Task(id="probe", source="", split="", question=PROBE, reference=Reference(answer=StringAnswer(value="")))
    sampling = SamplingParams(temperature=1.0, max_tokens=_TOKENS)
    return GenerationRequest(messages=[], prompt_ids=prompt_ids, task=task, turn=0, sampling=sampling, seed=seed)


def check_visible(
    model: ActorCritic,
    prompt_ids: list[int],
    *,
    push: Callable[[], None],
    sample: Callable[[GenerationRequest], Generation],
    device: torch.device,
) -> Seen:
    """Change the weights, push them, compare, put them back (the caller pushes the real ones afterwards).

    Args:
        model: Its policy is changed and restored.
        prompt_ids: What to sample from.
        push: Publishes the weights as they are now.
        sample: Samples from the server.
        device: Of the model.

    Raises:
        ServerError: The server does not show the change.
    """
    weights = list(model.actor_parameters().values())
    before = [held(weight) for weight in weights]
    model.train(False)
    try:
        _change(model, weights, prompt_ids, device)
        push()
        samples = [sample(probe_request(prompt_ids, seed)) for seed in range(_SAMPLES)]
        pack = build_pack([_row(prompt_ids, s.token_ids or [], s.logprobs or []) for s in samples], device)
        changed = _logps(model, pack)
    finally:
        for weight, old in zip(weights, before, strict=True):
            put(old, weight, lasting=False)
    unchanged, served = _logps(model, pack), pack.tensor("server_logps_N")
    seen = Seen(*((served - logps).abs().mean().item() for logps in (changed, unchanged)))
    if not seen.changed < 0.5 * seen.unchanged:
        raise ServerError(
            f"pushed weights do not show in the server's log-probabilities: it is {seen.changed:.2f} nats per token "
            f"from them and {seen.unchanged:.2f} from the old ones",
            where="weight sync",
            remedy="check that the server may load adapters at run time (VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, "
            "max_lora_rank) and sees the run's folder, or set policy.type: transformers",
        )
    return seen


@torch.no_grad()
def _change(model: ActorCritic, weights: list[torch.nn.Parameter], prompt_ids: list[int], device: torch.device) -> None:
    """Add growing noise until the trainer itself sees a clear effect."""
    pack = build_pack([_row(prompt_ids[:2], prompt_ids[2:], [0.0] * len(prompt_ids[2:]))], device)
    start, generator, scale = _logps(model, pack), torch.Generator().manual_seed(0), 1e-3
    for _ in range(_GROWTHS):
        for weight in weights:
            now = held(weight)
            put(now.add_(alike(torch.randn(now.shape, generator=generator), now) * scale), weight, lasting=False)
        if (_logps(model, pack) - start).abs().mean() >= EFFECT:
            return
        scale *= 2


def _row(prompt_ids: list[int], sampled: list[int], logprobs: list[float]) -> TrainRow:
    trained = list(range(len(prompt_ids), len(prompt_ids) + len(sampled)))
    versions = torch.zeros(len(sampled), dtype=torch.long)
    return TrainRow([*prompt_ids, *sampled], trained, torch.tensor(logprobs), versions, 1.0, episode=0, group=0)


@torch.no_grad()
def _logps(model: ActorCritic, pack: Pack) -> Tensor:
    return model.act(pack).logps_N
