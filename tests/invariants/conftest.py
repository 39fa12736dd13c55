"""A tiny real model with an adapter that does something, and seeded rows of uneven lengths."""

import random
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from copilot.models.tiny import VOCABULARY, make_tiny
from copilot.online.rows import TrainRow
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


def make_row(rng: random.Random, prompt: list[int], *, turns: int, episode: int, group: int) -> TrainRow:
    """A row of ``turns`` sampled messages with environment output between them."""
    ids, trained = list(prompt), list[int]()
    for turn in range(turns):
        if turn:
            ids += [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(2, 7))]
        length = rng.randrange(1, 12)
        trained += range(len(ids), len(ids) + length)
        ids += [rng.randrange(3, VOCABULARY) for _ in range(length)]
    count = len(trained)
    return TrainRow(
        ids=ids,
        trained=trained,
        server_logps_N=torch.tensor([-rng.random() * 5 for _ in range(count)]),
        versions_N=torch.zeros(count, dtype=torch.long),
        temperature=0.7,
        episode=episode,
        group=group,
    )


def make_rows(groups: int, size: int, *, seed: int = 0, turns: int = 3) -> list[TrainRow]:
    """``size`` rows for each of ``groups`` prompts, one to ``turns`` turns each."""
    rng, rows = random.Random(seed), list[TrainRow]()
    for group in range(groups):
        prompt = [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(3, 25))]
        for _ in range(size):
            rows.append(make_row(rng, prompt, turns=rng.randint(1, turns), episode=len(rows), group=group))
    return rows
