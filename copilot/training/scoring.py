"""Log-probabilities of the labelled tokens only, for CPUs: TRL's fused head, without the work it wastes there.

TRL 1.16 scores only labelled positions on CUDA and XPU; elsewhere it projects every position on the vocabulary,
pads, and computes the prompt that all rows of a micro-batch share once per row. Here the shared prefix runs once
(its keys and values are broadcast, gradients included), padding costs no mask, and only labelled positions reach the
head. The result is the same function of the weights: tests compare loss and every gradient with the plain path.
"""

import types
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DynamicCache, PreTrainedModel
from trl.trainer.utils import FusedCausalLMOutput

PLAIN_HEADS = frozenset({"llama", "qwen2", "qwen3", "mistral"})
"""Architectures whose logits are ``lm_head(hidden)`` and nothing else."""


def score_labels_only(model: PreTrainedModel) -> bool:
    """Replace ``model``'s fused-head forward, if its architecture allows; other calls are left as they were.

    Args:
        model: The base model (not the PEFT wrapper), after a TRL trainer was built on it.

    Returns:
        Whether it was replaced.
    """
    if model.config.model_type not in PLAIN_HEADS or _sliding(model):
        return False
    plain_forward = model.forward

    def forward(self: PreTrainedModel, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return plain_forward(*args, **kwargs)
        return fused_output(self, kwargs["input_ids"], kwargs["labels"])

    model.forward = types.MethodType(forward, model)
    return True


def fused_output(model: PreTrainedModel, input_ids_BT: torch.Tensor, labels_BT: torch.Tensor) -> FusedCausalLMOutput:
    """What TRL's trainers read from a forward, for rows padded on the right; per-token fields are (B, T-1)."""
    hidden_NH, mask_BT = labelled_hidden(model, input_ids_BT, labels_BT)
    targets_N = labels_BT[:, 1:][mask_BT]
    logits_NV = _at_least_float32(model.get_output_embeddings()(hidden_NH))
    all_logps_NV = F.log_softmax(logits_NV, dim=-1)
    logps_N = all_logps_NV.gather(1, targets_N[:, None]).squeeze(1)
    with torch.no_grad():
        entropy_N = -(all_logps_NV.exp() * all_logps_NV).sum(-1)
        mean_N, top1_N = logits_NV.mean(-1), logits_NV.argmax(-1) == targets_N
    spread = {
        name: values.new_zeros(mask_BT.shape).masked_scatter(mask_BT, values)
        for name, values in {
            "log_probs": logps_N,
            "entropy": entropy_N,
            "mean_logits": mean_N,
            "is_top1": top1_N,
        }.items()
    }
    return FusedCausalLMOutput(loss=-logps_N.sum() / max(1, len(targets_N)), label_mask=mask_BT, **spread)


def labelled_hidden(
    model: PreTrainedModel, input_ids_BT: torch.Tensor, labels_BT: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states that predict a labelled token.

    Returns:
        hidden_NH: In row order; N is the number of labels after the first column.
        mask_BT: (B, T-1), true at position t where token t+1 is labelled.
    """
    mask_BT = labels_BT[:, 1:] != -100
    shared = 0 if model.is_gradient_checkpointing else _shared_prefix(input_ids_BT, mask_BT)
    if shared == 0:
        hidden_BTH = model.base_model(input_ids=input_ids_BT, use_cache=False).last_hidden_state
        return hidden_BTH[:, :-1][mask_BT], mask_BT
    cache = DynamicCache(config=model.config)
    model.base_model(input_ids=input_ids_BT[:1, :shared], past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(len(input_ids_BT))
    rest_BSH = model.base_model(
        input_ids=input_ids_BT[:, shared:], past_key_values=cache, use_cache=True
    ).last_hidden_state
    return rest_BSH[:, :-1][mask_BT[:, shared:]], mask_BT


def _shared_prefix(input_ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> int:
    """Tokens all rows begin with, none of them needed by the head; 0 when there is one row."""
    if len(input_ids_BT) == 1 or not mask_BT.any():
        return 0
    differ_T = (input_ids_BT != input_ids_BT[:1]).any(dim=0)
    same = int(differ_T.int().argmax()) if differ_T.any() else input_ids_BT.shape[1]
    return min(same, int(mask_BT.any(dim=0).int().argmax()))


def _at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _sliding(model: PreTrainedModel) -> bool:
    return "sliding_attention" in (model.config.to_dict().get("layer_types") or [])


def sequence_logps(model: PreTrainedModel, input_ids_BT: torch.Tensor, trained_mask_BT: torch.Tensor) -> torch.Tensor:
    """Summed log-probability (B,) of the trained tokens of each right-padded row, on any device and architecture."""
    labels_BT = input_ids_BT.masked_fill(trained_mask_BT == 0, -100)
    if model.config.model_type in PLAIN_HEADS and not _sliding(model):
        logps_BT = fused_output(model, input_ids_BT, labels_BT).log_probs
        assert logps_BT is not None
        return logps_BT.sum(dim=1)
    logits_BTV = model(input_ids=input_ids_BT, use_cache=False).logits[:, :-1]
    all_logps_BTV = F.log_softmax(_at_least_float32(logits_BTV), dim=-1)
    return (all_logps_BTV.gather(2, input_ids_BT[:, 1:, None]).squeeze(2) * trained_mask_BT[:, 1:]).sum(dim=1)
