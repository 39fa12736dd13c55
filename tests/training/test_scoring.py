"""The CPU scoring path against the plain forward: same log-probabilities, same gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from copilot.policy.factory import Weights
from copilot.training.collators import DpoCollator, SftCollator
from copilot.training.config import TrainingConfig
from copilot.training.scoring import fused_output, score_labels_only, sequence_logps
from copilot.training.weights import load_trainable

Rows = Callable[[str, int], list[dict[str, Any]]]


@pytest.fixture
def model(tiny: Path) -> PeftModel:
    torch.manual_seed(0)
    model = load_trainable(Weights(str(tiny)), TrainingConfig(), dtype=torch.float64)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.double()  # so that a difference is one of meaning, not of rounding


def plain_logps(model: PeftModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, T-1) log-probabilities of the labels from full, padded and masked logits; 0 where there is none."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    targets = batch["labels"][:, 1:]
    logps = torch.log_softmax(logits, -1).gather(2, targets.clamp(min=0)[..., None]).squeeze(2)
    return logps.masked_fill(targets == -100, 0)


def gradients(model: PeftModel) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("count", [1, 2, 5])
def test_scores_and_gradients_equal_the_plain_forward(model: PeftModel, make_rows: Rows, count: int) -> None:
    batch = SftCollator(pad_id=0)(make_rows("sft", count))
    expected = plain_logps(model, batch)
    (expected**2).sum().backward()  # a loss whose gradient differs from token to token
    expected_gradients = gradients(model)
    output = fused_output(model.get_base_model(), batch["input_ids"], batch["labels"])
    (output.log_probs**2).sum().backward()
    torch.testing.assert_close(output.log_probs, expected, atol=1e-10, rtol=1e-10)
    found = gradients(model)
    assert found.keys() == expected_gradients.keys()
    assert found
    for name, gradient in found.items():
        # Llama's norm computes in float32 whatever the weights' type, which leaves about 1e-8.
        expected_gradient = expected_gradients[name]
        assert (gradient - expected_gradient).norm() <= 1e-7 * expected_gradient.norm(), name


def test_a_row_that_is_the_prefix_of_another_is_scored_right(model: PeftModel) -> None:
    rows = [
        {"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]},
        {"input_ids": [5, 6, 7, 8, 9, 10], "labels": [-100, -100, -100, -100, 9, 10]},
    ]
    batch = SftCollator(pad_id=0)(rows)
    output = fused_output(model.get_base_model(), batch["input_ids"], batch["labels"])
    torch.testing.assert_close(output.log_probs, plain_logps(model, batch), atol=1e-10, rtol=1e-10)


def test_statistics_beside_the_loss(model: PeftModel, make_rows: Rows) -> None:
    batch = SftCollator(pad_id=0)(make_rows("sft", 3))
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    mask = batch["labels"][:, 1:] != -100
    output = fused_output(model.get_base_model(), batch["input_ids"], batch["labels"])
    assert torch.equal(output.label_mask, mask)
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(output.entropy, entropy * mask, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(output.mean_logits, logits.mean(-1) * mask, atol=1e-10, rtol=1e-10)
    assert torch.equal(output.is_top1, (logits.argmax(-1) == batch["labels"][:, 1:]) & mask)


def test_sequence_logps_sum_the_trained_tokens_only(model: PeftModel, make_rows: Rows) -> None:
    batch = DpoCollator(pad_id=0)(make_rows("dpo", 3))
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    expected = plain_logps(model, {**batch, "labels": labels}).sum(1)
    found = sequence_logps(model.get_base_model(), batch["input_ids"], batch["completion_mask"])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)


def test_other_calls_are_left_alone(model: PeftModel) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    before = model(input_ids=ids).logits
    assert score_labels_only(model.get_base_model())
    assert torch.equal(model(input_ids=ids).logits, before)
    fused = model(input_ids=ids, labels=ids, fused_lm_head=True)
    expected = torch.log_softmax(before[:, :-1], -1).gather(2, ids[:, 1:, None]).squeeze(2)
    torch.testing.assert_close(fused.log_probs, expected, atol=1e-10, rtol=1e-10)


def test_an_architecture_with_another_head_is_not_touched(model: PeftModel) -> None:
    base = model.get_base_model()
    base.config.model_type = "gemma2"  # soft-caps its logits
    assert not score_labels_only(base)
