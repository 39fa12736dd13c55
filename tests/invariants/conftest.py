"""A tiny real model with an adapter that does something, for all tests of this folder."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel

from copilot.models.tiny import make_tiny
from copilot.policy.factory import Weights
from copilot.training.config import LoraSettings, TrainingConfig
from copilot.training.weights import load_trainable


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def model(tiny: Path) -> PeftModel:
    """A tiny LoRA model, float32, whose adapter is not the identity."""
    torch.manual_seed(0)
    settings = TrainingConfig(lora=LoraSettings(r=4, alpha=8))
    loaded = load_trainable(Weights(str(tiny)), settings, dtype=torch.float32)
    assert isinstance(loaded, PeftModel)
    for name, parameter in loaded.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return loaded
