import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

import copilot
from copilot.envs.prompt import PromptConfig
from copilot.errors import ModelError
from copilot.release.export import export
from copilot.release.info import CheckpointInfo

IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.fixture
def info(tiny: Path) -> CheckpointInfo:
    return CheckpointInfo(
        name="demo-sft",
        kind="lora",
        base_model=str(tiny),
        protocol="markdown",
        prompt=PromptConfig(brief=True, context=False),
        training=("sft (sft)",),
        recipe="demo",
        recipe_hash="ab" * 32,
        evaluation={"submitted": {"rate": 41.7, "low": 30.1, "high": 54.3, "successes": 25, "total": 60}},
    )


def test_an_exported_adapter_gives_identical_logits(
    tiny: Path, adapter: Path, info: CheckpointInfo, tmp_path: Path
) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    expected = logits(PeftModel.from_pretrained(base, adapter).eval())
    out = export(adapter, tmp_path / "release", info)
    agent = copilot.load(out)
    assert torch.equal(logits(agent.model), expected)
    assert agent.info == info
    assert "41.7 %" in (out / "README.md").read_text(encoding="utf-8")
    assert agent.tokenizer.chat_template


def test_a_merged_export_is_a_plain_model_folder(
    tiny: Path, adapter: Path, info: CheckpointInfo, tmp_path: Path
) -> None:
    out = export(adapter, tmp_path / "merged", info, merge=True)
    assert not (out / "adapter_config.json").exists()
    agent = copilot.load(out)
    assert agent.info.kind == "full"
    unmerged = copilot.load(adapter)
    stored = AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype
    tolerance = 1e-4 if stored is torch.float32 else 0.05
    torch.testing.assert_close(logits(agent.model), logits(unmerged.model), atol=tolerance, rtol=tolerance)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    assert not torch.allclose(logits(agent.model), logits(base), atol=tolerance)


def test_a_plain_sharded_folder_loads_with_the_published_protocol(tiny: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    folder = tmp_path / "MedCopilot-7B"
    model.save_pretrained(folder, max_shard_size="200KB")
    assert len(list(folder.glob("*.safetensors"))) > 1, "sharded"
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tiny / name).exists():
            shutil.copy(tiny / name, folder)
    agent = copilot.load(folder)
    assert torch.equal(logits(agent.model), logits(model.eval()))
    assert (agent.info.name, agent.info.kind, agent.info.protocol) == ("MedCopilot-7B", "full", "json")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickled_weights_are_refused_unread(tiny: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    shutil.copy(tiny / "config.json", folder)
    (folder / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    with pytest.raises(ModelError, match="pickled weights") as error:
        copilot.load(folder)
    assert "safetensors" in str(error.value.remedy)


def test_nothing_of_this_machine_is_left_in_a_release(
    tiny: Path, adapter: Path, info: CheckpointInfo, tmp_path: Path
) -> None:
    base = tmp_path / "fetched"
    shutil.copytree(tiny, base)
    (base / "copilot_model.json").write_text(json.dumps({"hub_id": "someone/tiny"}), encoding="utf-8")
    out = export(adapter, tmp_path / "release", info.evolve(base_model=str(base)))
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "someone/tiny"
    for path in out.glob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8"), path.name
    assert "base_model: someone/tiny" in (out / "README.md").read_text(encoding="utf-8")


def test_an_existing_folder_is_not_overwritten(adapter: Path, info: CheckpointInfo, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ModelError, match="not empty"):
        export(adapter, tmp_path, info)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_description_of_another_version_is_refused(adapter: Path, info: CheckpointInfo, tmp_path: Path) -> None:
    out = export(adapter, tmp_path / "release", info)
    raw = json.loads((out / "copilot.json").read_text())
    (out / "copilot.json").write_text(json.dumps({**raw, "schema_version": 99}), encoding="utf-8")
    with pytest.raises(ModelError, match="version 99"):
        copilot.load(out)


def test_no_such_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as error:
        copilot.load(tmp_path / "nowhere")
    assert error.value.remedy
