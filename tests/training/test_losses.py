"""The numbers that TRL's trainers report on our rows, against losses written out here from scratch."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from copilot.training.config import DpoSettings
from copilot.training.kto import with_partners
from copilot.training.order import row_order

Row = dict[str, Any]
Rows = Callable[[str, int], list[Row]]
RunStage = Callable[..., dict[str, Any]]
SEED = 3


def load(base: Path, weights: str) -> torch.nn.Module:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return PeftModel.from_pretrained(model, weights)


def logp(model: torch.nn.Module, ids: list[int], mask: list[int]) -> torch.Tensor:
    """Summed log-probability of the tokens with mask 1, one unpadded row at a time."""
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    terms = [torch.log_softmax(logits[t - 1], -1)[ids[t]] for t in range(1, len(ids)) if mask[t]]
    return torch.stack(terms).sum()


def completion(model: torch.nn.Module, row: Row, name: str) -> torch.Tensor:
    return logp(model, row["prompt_ids"] + row[f"{name}_ids"], [0] * len(row["prompt_ids"]) + row[f"{name}_mask"])


def steps_of(rows: list[Row], length: Callable[[Row], int], batch_size: int) -> list[list[Row]]:
    plan = row_order([length(row) for row in rows], batch_size=batch_size, steps=len(rows) // batch_size, seed=SEED)
    return [[rows[i] for i in plan[at : at + batch_size]] for at in range(0, len(plan), batch_size)]


@pytest.fixture
def adapter(run_stage: RunStage) -> str:
    """An adapter that is not the identity: a short SFT left it."""
    return str(run_stage("sft", folder="warm", warmup_ratio=0.0)["weights"])


def test_sft_loss_is_the_token_mean_over_the_whole_step(
    tiny: Path, adapter: str, run_stage: RunStage, make_rows: Rows
) -> None:
    rows = make_rows("sft", 8)
    ran = run_stage("sft", adapter=adapter, rows=rows, max_steps=1)
    with torch.no_grad():
        model = load(tiny, adapter)
        first = steps_of(rows, lambda row: len(row["input_ids"]), 4)[0]
        masks = [[int(label != -100) for label in row["labels"]] for row in first]
        total = sum(logp(model, row["input_ids"], mask).item() for row, mask in zip(first, masks, strict=True))
    assert ran["losses"][0]["loss"] == pytest.approx(-total / sum(map(sum, masks)), abs=1e-5)


def test_labels_decide_alone_what_is_learned(run_stage: RunStage, make_rows: Rows) -> None:
    """Changing the ids of untrained labels changes nothing; only -100 or not counts."""
    rows = make_rows("sft", 8)
    shorter = [{**row, "labels": [*row["labels"][:-1], -100]} for row in rows]
    full = run_stage("sft", rows=rows, folder="full", max_steps=1)["losses"][0]["loss"]
    less = run_stage("sft", rows=shorter, folder="less", max_steps=1)["losses"][0]["loss"]
    assert full != pytest.approx(less, abs=1e-4)


def dpo_length(row: Row) -> int:
    return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])


def test_a_weight_is_given_to_every_loss_term() -> None:
    with pytest.raises(ValidationError, match="1 entries for 2 loss terms"):
        DpoSettings(loss=["sigmoid", "sft"], loss_weights=[1.0])


def test_dpo_starts_at_the_reference(adapter: str, run_stage: RunStage) -> None:
    first = run_stage("dpo", adapter=adapter, max_steps=1)["losses"][0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    for name in ("rewards/margins", "rewards/chosen", "rewards/rejected"):
        assert first[name] == pytest.approx(0, abs=1e-5), name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_dpo_loss_equals_an_independent_one(
    smoothing: float, tiny: Path, adapter: str, run_stage: RunStage, make_rows: Rows
) -> None:
    rows = make_rows("dpo", 8)
    same = {"warmup_ratio": 0.0, "schedule": "constant", "settings": {"label_smoothing": smoothing}}
    after_one = run_stage("dpo", adapter=adapter, rows=rows, folder="one", max_steps=1, **same)
    ran = run_stage("dpo", adapter=adapter, rows=rows, folder="two", max_steps=2, **same)
    assert ran["losses"][0]["loss"] == after_one["losses"][0]["loss"]
    with torch.no_grad():
        reference, policy = load(tiny, adapter), load(tiny, after_one["weights"])
        margins = [
            (completion(policy, row, "chosen") - completion(reference, row, "chosen"))
            - (completion(policy, row, "rejected") - completion(reference, row, "rejected"))
            for row in steps_of(rows, dpo_length, 4)[1]
        ]
    scores = 0.1 * torch.stack(margins)
    right, flipped = -torch.nn.functional.logsigmoid(scores), -torch.nn.functional.logsigmoid(-scores)
    expected = ((1 - smoothing) * right + smoothing * flipped).mean().item()
    assert expected < math.log(2) - 1e-3 or expected > math.log(2) + 1e-3, "the first step moved the policy"
    assert ran["losses"][1]["loss"] == pytest.approx(expected, abs=1e-5)


def test_kto_loss_equals_an_independent_one(tiny: Path, adapter: str, run_stage: RunStage, make_rows: Rows) -> None:
    rows = make_rows("kto", 8)
    # One forward per step, so that TRL's per-forward KL estimate is over the whole step.
    same = {"warmup_ratio": 0.0, "schedule": "constant", "micro_batch_size": 4}
    after_one = run_stage("kto", adapter=adapter, rows=rows, folder="one", max_steps=1, **same)
    ran = run_stage("kto", adapter=adapter, rows=rows, folder="two", max_steps=2, **same)
    assert ran["losses"][0]["loss"] == pytest.approx(0.5, abs=1e-6)
    second = steps_of(with_partners(rows), lambda row: len(row["prompt_ids"]) + len(row["completion_ids"]), 4)[1]
    with torch.no_grad():
        reference, policy = load(tiny, adapter), load(tiny, after_one["weights"])
        kl = torch.stack([completion(policy, r, "other") - completion(reference, r, "other") for r in second]).mean()
        kl = kl.clamp(min=0)
        ratios = [completion(policy, r, "completion") - completion(reference, r, "completion") for r in second]
        signs = [1 if row["label"] else -1 for row in second]
        losses = [1 - torch.sigmoid(0.1 * s * (ratio - kl)) for s, ratio in zip(signs, ratios, strict=True)]
    assert ran["losses"][1]["loss"] == pytest.approx(torch.stack(losses).mean().item(), abs=1e-5)


def test_kto_partners_are_other_rows(make_rows: Rows) -> None:
    rows = make_rows("kto", 7)
    paired = with_partners(rows)
    partners = [rows.index(next(r for r in rows if r["completion_ids"] == p["other_ids"])) for p in paired]
    assert sorted(partners) == list(range(7)), "every completion is somebody's partner once"
    assert all(partner != index for index, partner in enumerate(partners))


def test_the_adapter_travels(adapter: str, run_stage: RunStage) -> None:
    """A stage goes on where the last ended: one adapter of the same shape, no stack, nothing else in the folder."""
    ran = run_stage("dpo", adapter=adapter, max_steps=1)
    before = json.loads((Path(adapter) / "adapter_config.json").read_text(encoding="utf-8"))
    after = json.loads((Path(ran["weights"]) / "adapter_config.json").read_text(encoding="utf-8"))
    assert (after["r"], after["lora_alpha"], sorted(after["target_modules"])) == (
        before["r"],
        before["lora_alpha"],
        sorted(before["target_modules"]),
    )
    assert not [path for path in Path(ran["weights"]).rglob("*") if path.is_dir()], "no second adapter beside it"
    assert not [path for path in Path(ran["weights"]).iterdir() if path.suffix in {".bin", ".pt"}]
