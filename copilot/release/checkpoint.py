"""``copilot.load``: a checkpoint in one line, from a folder or a hub, with nothing of it executed.

Only safetensors are read and ``trust_remote_code`` is never on, so a downloaded folder cannot run code here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from peft import PeftModel
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from copilot.envs.sandboxes.base import SandboxConfig
from copilot.errors import ModelError
from copilot.models.fetch import resolve_model
from copilot.policy.base import SamplingParams
from copilot.policy.tokens import load_tokenizer
from copilot.release.info import CheckpointInfo, read_info
from copilot.training.weights import check_safe

_SAFE_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "README.md"]


@dataclass(frozen=True)
class Copilot:
    """A loaded checkpoint."""

    model: PreTrainedModel | PeftModel
    """In evaluation mode, on its device; adapters are not merged."""
    tokenizer: PreTrainedTokenizerBase
    """With the chat template it was trained on."""
    info: CheckpointInfo
    """How it was made and wants to be used."""

    def solve(
        self,
        question: str,
        *,
        files: Mapping[str, str | Path] | None = None,
        context: str = "",
        max_turns: int = 15,
        sampling: SamplingParams | None = None,
        sandbox: SandboxConfig | None = None,
        seed: int = 0,
        attempts: int = 1,
        verifier: str | Path = "",
    ) -> "Solution":
        """Let it work on a question about your own tables, in a sandbox; nothing leaves this machine.

        Args:
            question: What to find out.
            files: Tables by the name the code sees, ``{"labs.csv": "/home/me/labs.csv"}`` becomes
                ``/data/labs.csv``, read-only. One SQLite file also gets the helper ``sql(query)``.
            context: What it should know; columns of CSV files and SQLite tables are added.
            max_turns: Messages it may write.
            sampling: How tokens are drawn; by default greedy for one attempt, at T=0.6 for several.
            sandbox: Where its code runs; the ``local`` sandbox by default.
            seed: Of sampling and of the sandbox.
            attempts: Episodes played, K; one of them is chosen.
            verifier: A verifier's folder: the attempt it scores highest is chosen; without one, the answer that most
                attempts agree on.

        Returns:
            The answer it submitted, with the whole trajectory.

        Raises:
            DataError: A file is missing, or infrastructure broke every attempt.
            SandboxError: No sandbox can be had here.
        """
        from copilot.release.solve import solve

        return solve(
            self,
            question,
            files={name: Path(path) for name, path in (files or {}).items()},
            context=context,
            max_turns=max_turns,
            sampling=sampling or SamplingParams(temperature=0.6 if attempts > 1 else 0.0),
            sandbox=sandbox or SandboxConfig(),
            seed=seed,
            attempts=attempts,
            verifier=str(verifier),
        )


@dataclass(frozen=True)
class Solution:
    """What came of :meth:`Copilot.solve`."""

    answer: Any
    """The JSON value submitted; ``None`` when none was."""
    submitted: bool
    """Whether it handed in an answer at all."""
    trajectory: Any
    """The recorded episode, a :class:`copilot.data.trajectory.Trajectory`."""
    score: float | None = None
    """The verifier's probability that the answer is right; ``None`` without a verifier."""


def load(
    path_or_hub_id: str | Path, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Copilot:
    """Load a Med-Copilot checkpoint, an adapter, or any plain model folder.

    Args:
        path_or_hub_id: Local folder, known model name or hub id.
        device: Where it goes; default: the GPU if there is one.
        dtype: Weights' type; default: bfloat16 on a GPU, float32 on a CPU.

    Raises:
        ModelError: Nothing there, pickled weights, or a base model that cannot be had.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    kind = dtype or (torch.float32 if place.type == "cpu" else torch.bfloat16)
    folder = find_folder(str(path_or_hub_id))
    info = read_info(folder)
    model: PreTrainedModel | PeftModel
    if info.kind == "lora":
        base = find_folder(_base_of(folder, info))
        model = PeftModel.from_pretrained(_load_full(base, kind), str(folder))
        info = info.evolve(base_model=info.base_model or str(base))
    else:
        model = _load_full(folder, kind)
        info = info.evolve(base_model=info.base_model or str(path_or_hub_id))
    torch.nn.Module.to(model, place)
    return Copilot(model.eval(), load_tokenizer(str(folder)), info)


def find_folder(path_or_hub_id: str) -> Path:
    """A local folder with a model or an adapter; fetched when the name is not one.

    Raises:
        ModelError: Not here and not to be fetched, or its weights are pickled.
    """
    found = Path(resolve_model(path_or_hub_id)).expanduser()
    folder = found if found.is_dir() else _download(path_or_hub_id)
    check_safe(folder)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise ModelError("neither config.json nor adapter_config.json", where=folder, remedy="name a model folder")
    return folder


def _download(hub_id: str) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_SAFE_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        remedy = "name a local folder, or run where the hub can be reached"
        raise ModelError(f"no folder and no hub model {hub_id!r}: {error}", remedy=remedy) from error


def _load_full(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError) as error:
        remedy = "check config.json and the *.safetensors files"
        raise ModelError(f"the model cannot be loaded: {error}", where=folder, remedy=remedy) from error


def _base_of(folder: Path, info: CheckpointInfo) -> str:
    if info.base_model:
        return info.base_model
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return str(config["base_model_name_or_path"])
