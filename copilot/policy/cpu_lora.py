"""LoRA on vLLM's CPU backend as one matrix product per adapter.

vLLM 0.32's CPU fallback copies the adapter's matrices once per token (``weights[indices]``): a prefill of a thousand
tokens moves gigabytes per layer and takes minutes. Here tokens are grouped by adapter instead, with the same result.
The server we start on a CPU switches this on by :data:`SWITCH` (:mod:`copilot.policy.vllm_plugin`); no other vLLM
sees it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SWITCH = "MED_COPILOT_CPU_LORA"
"""Environment variable that switches the plug-in on."""


def install() -> None:
    """Put it in the place of vLLM's own, in this process."""
    from vllm.lora.ops.torch_ops import lora_ops
    from vllm.lora.punica_wrapper import punica_cpu

    modules: list[Any] = [lora_ops, punica_cpu]
    for module in modules:
        module.bgmv_shrink = bgmv_shrink
        module.bgmv_expand = bgmv_expand
        module.bgmv_expand_slice = bgmv_expand_slice


def by_adapter(inputs: "torch.Tensor", weights: "torch.Tensor", slots: "torch.Tensor") -> "torch.Tensor":
    """Each token times its adapter's matrix.

    Args:
        inputs: Tokens, [B, in].
        weights: All adapters' matrices, [L, out, in] or [L, 1, out, in].
        slots: Adapter of each token, [B]; negative: none, its output is 0.

    Returns:
        [B, out], in the type of ``inputs``.
    """
    weights = weights.squeeze(1) if weights.dim() == 4 else weights
    used = slots.unique().tolist()
    if len(used) == 1 and used[0] >= 0:
        return inputs @ weights[used[0]].to(inputs.dtype).T
    outputs = inputs.new_zeros(inputs.shape[0], weights.shape[1])
    for slot in used:
        if slot >= 0:
            tokens = (slots == slot).nonzero().squeeze(1)
            outputs[tokens] = inputs[tokens] @ weights[slot].to(inputs.dtype).T
    return outputs


def bgmv_shrink(
    inputs: "torch.Tensor",
    lora_b_weights: "torch.Tensor",
    output_tensor: "torch.Tensor",
    lora_indices_tensor: "torch.Tensor",
    scaling: float = 1.0,
) -> None:
    """``output = scaling * inputs @ A``, by token; the signature is vLLM's."""
    outputs = by_adapter(inputs.to(output_tensor.dtype), lora_b_weights, lora_indices_tensor)
    output_tensor[:, : outputs.shape[1]] = scaling * outputs


def bgmv_expand(
    inputs: "torch.Tensor",
    lora_b_weights: "torch.Tensor",
    output_tensor: "torch.Tensor",
    lora_indices_tensor: "torch.Tensor",
    add_inputs: bool = True,
) -> None:
    """``output (+)= inputs @ B``, by token, on the columns both have; the signature is vLLM's."""
    width = min(output_tensor.shape[1], lora_b_weights.shape[-2])
    bgmv_expand_slice(inputs, lora_b_weights[..., :width, :], output_tensor, lora_indices_tensor, 0, width, add_inputs)


def bgmv_expand_slice(
    inputs: "torch.Tensor",
    lora_b_weights: "torch.Tensor",
    output_tensor: "torch.Tensor",
    lora_indices_tensor: "torch.Tensor",
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """``output[:, slice] (+)= inputs @ B``, by token; the signature is vLLM's."""
    outputs = by_adapter(inputs.to(output_tensor.dtype), lora_b_weights, lora_indices_tensor)
    target = output_tensor[: outputs.shape[0], slice_offset : slice_offset + slice_size]
    if add_inputs:
        target += outputs
    else:
        target.copy_(outputs)
