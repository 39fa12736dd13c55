"""The two heads of a verifier: one forward of the base model, one logit per sequence.

YES/NO reads the model's own output head at the last position and nowhere else; scalar is transformers' sequence
classifier with one output. Both are trained as adapter or in full, and both folders are standard ones.
"""

import copy
from typing import Any, cast

import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForSequenceClassification, DynamicCache, PreTrainedModel

from copilot.policy.factory import Weights
from copilot.training.collators import pad
from copilot.training.config import TrainingConfig
from copilot.training.weights import check_safe, load_tokenizer, load_trainable, lora_config
from copilot.verifier.config import Head, VerifierInfo


def load_head(head: Head, start: Weights, training: TrainingConfig, *, dtype: torch.dtype) -> Any:
    """The model a verifier stage trains.

    Args:
        head: Kind of head.
        start: Base model, and for YES/NO the adapter to go on from.
        training: ``method`` and shape of a new adapter.
        dtype: Of the base weights.
    """
    if head == "yes_no":
        return load_trainable(start, training, dtype=dtype)
    model = _classifier(start.model, dtype)
    if training.method == "full":
        return model
    config = lora_config(training)
    config.task_type, config.modules_to_save = "SEQ_CLS", ["score"]
    return get_peft_model(model, config, autocast_adapter_dtype=training.deepspeed != "zero3")


def load_verifier(weights: Weights, info: VerifierInfo, *, dtype: torch.dtype) -> PreTrainedModel | PeftModel:
    """A trained verifier, for scoring."""
    from transformers import AutoModelForCausalLM

    if info.head == "scalar":
        model = _classifier(weights.model, dtype)
    else:
        model = AutoModelForCausalLM.from_pretrained(weights.model, dtype=dtype, use_safetensors=True)
    if weights.adapter is not None:
        from pathlib import Path

        check_safe(Path(weights.adapter))
        model = PeftModel.from_pretrained(model, weights.adapter)
    return cast(PreTrainedModel, model.eval())


def prefix_cache(model: Any, ids: list[int]) -> DynamicCache:
    """Keys and values of what several sequences begin with."""
    cache = DynamicCache(config=model.config)
    ids_1T = torch.tensor([ids], device=next(model.parameters()).device)
    model(input_ids=ids_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def logits_of(
    model: Any,
    head: Head,
    ids: list[list[int]],
    yes_id: int,
    no_id: int,
    pad_id: int,
    *,
    after: DynamicCache | None = None,
) -> torch.Tensor:
    """One logit (B,) per sequence: YES minus NO, or the scalar.

    Args:
        model: Of :func:`load_head` or :func:`load_verifier`, wrapped or not.
        head: Kind of head.
        ids: B token sequences.
        yes_id: Token of YES.
        no_id: Token of NO.
        pad_id: Fills up on the right, where causal attention does not look.
        after: Cache of what all sequences begin with (YES/NO head); it stays as it is.
    """
    device = next(model.parameters()).device
    ids_BT = pad(ids, pad_id).to(device)
    last_B = torch.tensor([len(row) - 1 for row in ids], device=device)
    if after is None:
        return head_logits(model, head, ids_BT, last_B, yes_id, no_id)
    own = copy.deepcopy(after)
    own.batch_repeat_interleave(len(ids))
    return head_logits(model, head, ids_BT, last_B, yes_id, no_id, past_key_values=own)


def head_logits(
    model: Any, head: Head, ids_BT: torch.Tensor, last_B: torch.Tensor, yes_id: int, no_id: int, **before: Any
) -> torch.Tensor:
    """:func:`logits_of` on tensors: right-padded ids (B, T) and the position (B,) of each row's last token."""
    if head == "scalar":
        attention_BT = (torch.arange(ids_BT.shape[1], device=ids_BT.device) <= last_B[:, None]).long()
        scalar_B: torch.Tensor = model(input_ids=ids_BT, attention_mask=attention_BT, use_cache=False).logits[:, 0]
        return scalar_B.float()
    # The head is asked at the rows' last positions only: B x B rows of logits instead of B x T.
    logits_BBV = model(input_ids=ids_BT, logits_to_keep=last_B, use_cache=bool(before), **before).logits
    rows_B = torch.arange(len(ids_BT), device=ids_BT.device)
    last_BV = logits_BBV[rows_B, rows_B]
    margin_B: torch.Tensor = last_BV[:, yes_id] - last_BV[:, no_id]
    return margin_B.float()


def _classifier(path: str, dtype: torch.dtype) -> Any:
    """A one-output classifier; it finds the last token by the padding token, which transformers wants to be told."""
    return AutoModelForSequenceClassification.from_pretrained(
        path,
        num_labels=1,
        dtype=dtype,
        attn_implementation="sdpa",
        use_safetensors=True,
        pad_token_id=load_tokenizer(path).pad_token_id,
    )
