"""TRL 1.16's GRPOTrainer as oracle: same batch, same model, same loss and gradients, for every shared variant."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoTokenizer
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from copilot.online.advantages import group_advantages
from copilot.online.aggregation import row_weights
from copilot.online.config import LossSettings
from copilot.online.importance import correction_weights
from copilot.online.loss import PolicyTokens, policy_loss
from copilot.online.packing import make_packs
from copilot.online.rows import TrainRow
from copilot.online.scoring import score

from .uneven import make_rows

CPU = torch.device("cpu")
LOW, HIGH, DELTA, BETA, CAP = 0.2, 0.28, 1.4, 0.05, 2.0
CONSTANT = 64
CLIP = {"low": LOW, "high": HIGH}
NO_KL: dict[str, Any] = {"coefficient": 0.0}

VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({"loss_type": "grpo"}, {"aggregation": "sequence"}),
    "dapo": ({"loss_type": "dapo"}, {"aggregation": "token"}),
    "bnpo": ({"loss_type": "bnpo"}, {"aggregation": "token"}),
    "dr_grpo": ({"loss_type": "dr_grpo"}, {"aggregation": "constant"}),
    "dual clip": ({"loss_type": "dapo", "delta": DELTA}, {"clip": {**CLIP, "dual": DELTA}}),
    "kl": ({"loss_type": "dapo", "beta": BETA}, {"kl": {"coefficient": BETA}}),
    "kl as in GRPO's paper": ({"loss_type": "dapo", "beta": BETA, "use_bias_correction_kl": False},
                              {"kl": {"coefficient": BETA, "unbiased": False}}),
    "gspo": ({"loss_type": "grpo", "importance_sampling_level": "sequence"},
             {"surrogate": "gspo", "aggregation": "sequence"}),
    "cispo": ({"loss_type": "cispo", "epsilon_high": 1 + HIGH}, {"surrogate": "cispo"}),
    "entropy": ({"loss_type": "dapo", "entropy_coef": 0.02}, {"entropy": 0.02}),
    "token truncate": ({"loss_type": "dapo", "vllm_importance_sampling_mode": "token_truncate"},
                       {"correction": {"kind": "truncate", "high": CAP}}),
    "token mask": ({"loss_type": "dapo", "vllm_importance_sampling_mode": "token_mask"},
                   {"correction": {"kind": "mask", "low": 0.0, "high": CAP}}),
}  # fmt: skip


def batch() -> list[TrainRow]:
    """Rows of uneven lengths; their advantages are not centred, or terms of about 1 would cancel to a loss of 1e-3."""
    rows = make_rows(3, 4)
    rewards = torch.rand(12, generator=torch.Generator().manual_seed(1))
    groups = torch.tensor([row.group for row in rows])
    advantages = group_advantages(rewards, groups, torch.ones(12, dtype=torch.bool), kind="std")
    for row, advantage in zip(rows, advantages, strict=True):
        row.advantages_N = (advantage + 0.5).repeat(len(row.trained))
    return rows


def add_logps(model: PeftModel, rows: list[TrainRow]) -> None:
    """Old, server and reference log-probabilities: the model's own with noise."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for pack in make_packs(rows, tokens=4000, device=CPU):
            for row, logps in zip(pack.rows, pack.split(score(model, pack).logps_N), strict=True):
                noise = [torch.randn(len(logps), generator=generator) * scale for scale in (0.3, 0.5, 0.4)]
                row.old_logps_N, row.server_logps_N, row.reference_N = (logps + n for n in noise)


def trl_inputs(rows: list[TrainRow]) -> dict[str, torch.Tensor]:
    """The same batch as TRL pads it: prompts on the left, completions with a tool mask on the right."""
    prompt = max(row.prompt_length for row in rows)
    width = max(len(row) - row.prompt_length for row in rows)
    cells: dict[str, list[list[float]]] = {name: [] for name in ("p", "pm", "c", "cm", "tm", "old", "server", "ref")}
    for row in rows:
        start, own = row.prompt_length, len(row) - row.prompt_length
        fill, trained = [0] * (width - own), set(row.trained)
        cells["p"].append([0] * (prompt - start) + row.ids[:start])
        cells["pm"].append([0] * (prompt - start) + [1] * start)
        cells["c"].append(row.ids[start:] + fill)
        cells["cm"].append([1] * own + fill)
        cells["tm"].append([int(place in trained) for place in range(start, len(row))] + fill)
        for name, values in (("old", row.old_logps_N), ("server", row.server_logps_N), ("ref", row.reference_N)):
            assert values is not None
            spread = dict(zip(row.trained, values.tolist(), strict=True))
            cells[name].append([spread.get(place, 0.0) for place in range(start, start + width)])
    trained_tokens = sum(len(row.trained) for row in rows)
    advantages = [row.advantages_N[0].item() for row in rows if row.advantages_N is not None]
    return {
        "prompt_ids": torch.tensor(cells["p"]),
        "prompt_mask": torch.tensor(cells["pm"]),
        "completion_ids": torch.tensor(cells["c"]),
        "completion_mask": torch.tensor(cells["cm"]),
        "tool_mask": torch.tensor(cells["tm"]),
        "advantages": torch.tensor(advantages),
        "old_per_token_logps": torch.tensor(cells["old"]),
        "ref_per_token_logps": torch.tensor(cells["ref"]),
        "server": torch.tensor(cells["server"]),
        "num_items_in_batch": torch.tensor(trained_tokens),
    }


def theirs(model: PeftModel, tiny: Path, folder: Path, rows: list[TrainRow], changes: dict[str, Any]) -> torch.Tensor:
    corrected = "vllm_importance_sampling_mode" in changes
    settings = {"epsilon": LOW, "epsilon_high": HIGH, "beta": 0.0, "max_completion_length": CONSTANT} | changes
    arguments = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to="none",
        per_device_train_batch_size=len(rows),
        num_generations=4,
        temperature=rows[0].temperature,
        **settings,
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "x"}] * len(rows)),
        processing_class=AutoTokenizer.from_pretrained(tiny),
    )
    trainer.current_gradient_accumulation_steps = 1
    model.train()
    inputs = trl_inputs(rows)
    server = inputs.pop("server")
    if corrected:
        trainer.use_vllm, trainer.vllm_importance_sampling_correction = True, True
        ratio = torch.exp(inputs["old_per_token_logps"] - server)
        masked = arguments.vllm_importance_sampling_mode == "token_mask"
        inputs["importance_sampling_ratio"] = ratio.masked_fill(ratio > CAP, 0.0) if masked else ratio.clamp(max=CAP)
    loss: torch.Tensor = trainer._compute_loss(trainer.model, inputs)
    return loss


def ours(model: PeftModel, rows: list[TrainRow], settings: LossSettings, *, tokens: int) -> torch.Tensor:
    """Our loss over packed forwards, added up."""
    trained = [len(row.trained) for row in rows]
    weights = row_weights(
        trained, settings.aggregation, total_tokens=sum(trained), total_rows=len(rows), constant=CONSTANT
    )
    weight_of = {id(row): weight for row, weight in zip(rows, weights, strict=True)}
    losses = []
    for pack in make_packs(rows, tokens=tokens, device=CPU):
        scored = score(model, pack, entropy_gradient=settings.entropy > 0)
        record = PolicyTokens(
            logps_N=scored.logps_N,
            entropy_N=scored.entropy_N,
            old_logps_N=pack.tensor("old_logps_N"),
            server_logps_N=pack.tensor("server_logps_N"),
            advantages_N=pack.tensor("advantages_N"),
            weights_N=torch.tensor([weight_of[id(row)] for row in pack.rows])[pack.rows_N],
            rows_N=pack.rows_N,
            reference_N=pack.tensor("reference_N") if settings.kl.coefficient else None,
        )
        losses.append(policy_loss(record, settings).loss)
    return torch.stack(losses).sum()


def gradients(model: PeftModel, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {
        name.replace(".default.", "."): p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradients_are_trls(variant: str, model: PeftModel, tiny: Path, tmp_path: Path) -> None:
    their_settings, our_settings = VARIANTS[variant]
    plain = {"clip": CLIP, "kl": NO_KL, "correction": {"kind": "none"}}
    settings = LossSettings.model_validate(plain | our_settings)
    rows = batch()
    add_logps(model, rows)
    expected = theirs(model, tiny, tmp_path, rows, their_settings)
    expected_gradients = gradients(model, expected)
    largest = max(gradient.abs().max().item() for gradient in expected_gradients.values())
    assert largest > 1e-6
    assert abs(expected.item()) > 0.05, "the loss cancels: float32 cannot hold 1e-5 of it"
    for tokens in (80, 4000):
        found = ours(model, rows, settings, tokens=tokens)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)
        found_gradients = gradients(model, found)
        assert found_gradients.keys() == expected_gradients.keys()
        for name, gradient in found_gradients.items():
            assert (gradient - expected_gradients[name]).abs().max() <= 1e-4 * largest, name


def test_the_corrections_really_bite() -> None:
    """Otherwise the two variants above would test nothing."""
    difference = torch.randn(200, generator=torch.Generator().manual_seed(0)) * 0.6
    settings = LossSettings.model_validate({"correction": {"kind": "truncate", "high": CAP}}).correction
    touched = correction_weights(difference, torch.zeros(200), torch.zeros(200, dtype=torch.long), settings)[2]
    assert touched.any()
    assert functools.reduce(bool.__and__, [bool(d > 0) for d in difference[touched]])
