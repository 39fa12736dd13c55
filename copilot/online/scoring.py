"""Log-probabilities, entropies and values of trained tokens from one packed forward; only these reach the head."""

from dataclasses import dataclass
from typing import Literal, cast

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from copilot.online.packing import Pack

Wanted = Literal["logps", "values"]
"""What a forward is for: the policy's figures, or a critic's values and the hidden states that its head reads."""


@dataclass(frozen=True)
class Scored:
    """What a forward says about its trained tokens."""

    logps_N: Tensor
    """Log-probabilities under the sampling distribution (temperature included), float32."""
    entropy_N: Tensor
    """Entropies of that distribution; with gradient only where asked for."""


def score(model: nn.Module, pack: Pack, *, entropy_gradient: bool = False) -> Scored:
    """Score a pack under a causal language model (or its PEFT wrapper) as it is now."""
    logits_MV = model(
        input_ids=pack.input_ids_1T,
        position_ids=pack.positions_1T,
        attention_mask=pack.mask_11TT,
        use_cache=False,
        logits_to_keep=pack.sources_M,
    ).logits[0]
    logits_MV = logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32)) / pack.temperature_M[:, None]
    norm_M = logits_MV.logsumexp(dim=-1)
    logps_M = logits_MV.gather(1, pack.targets_M[:, None]).squeeze(1) - norm_M
    with torch.set_grad_enabled(entropy_gradient and torch.is_grad_enabled()):
        probabilities_MV = torch.exp(logits_MV - norm_M[:, None])
        entropy_M = norm_M - (probabilities_MV * logits_MV).sum(-1)
    return Scored(logps_M[pack.predictions_N], entropy_M[pack.predictions_N])


@dataclass(frozen=True)
class Valued:
    """What a critic says before trained tokens."""

    values_N: Tensor
    """Values, float32."""
    states_NH: Tensor
    """The hidden states that its head read, without gradient."""


class PackModel(nn.Module):
    """A language model, and the head of a critic on it, behind one forward: shards of both are gathered by its call.

    Args:
        model: A transformers model, or its PEFT wrapper.
        head: From hidden states to values; ``None``: it is no critic.
    """

    def __init__(self, model: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.model, self.head = model, head

    def forward(self, pack: Pack, *, wanted: Wanted = "logps", entropy_gradient: bool = False) -> tuple[Tensor, ...]:
        """Log-probabilities and entropies of the pack's trained tokens; or what a critic has before them."""
        if wanted == "logps":
            scored = score(self.model, pack, entropy_gradient=entropy_gradient)
            return scored.logps_N, scored.entropy_N
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        states_NH = hidden_states(cast(PreTrainedModel, base).base_model, pack)
        assert self.head is not None
        return self.head(states_NH), states_NH.detach()


def hidden_states(backbone: nn.Module, pack: Pack) -> Tensor:
    """Last hidden states ``[N, H]`` from which the trained tokens are predicted."""
    hidden_1TH: Tensor = backbone(
        input_ids=pack.input_ids_1T,
        position_ids=pack.positions_1T,
        attention_mask=pack.mask_11TT,
        use_cache=False,
    ).last_hidden_state
    return hidden_1TH[0, pack.sources_M[pack.predictions_N]]
