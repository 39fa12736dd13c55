"""What a LoRA folder must look like before it is served, and the text on which its effect is checked."""

from pathlib import Path

from copilot.errors import ModelError

PROBE = (
    "How many patients were admitted to the hospital with sepsis last year, and what was their median lactate? "
    "```python\nanswer = sql('SELECT COUNT(DISTINCT subject_id) FROM admissions')[0][0]\nprint(answer)\n```"
)
"""The adapter's log-probabilities of this text must differ from the base model's."""


def check_adapter_folder(path: str | Path) -> None:
    """Refuse what is no safetensors LoRA folder, or one that changes nothing.

    Raises:
        ModelError: Files are missing, or every ``lora_B`` is zero.
    """
    folder = Path(path)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            remedy = "give the folder a training stage wrote (pickled .bin adapters are not loaded)"
            raise ModelError(f"no {name} in the adapter folder", where=folder, remedy=remedy)
    if is_without_effect(folder):
        raise adapter_without_effect(folder)


def adapter_without_effect(path: str | Path) -> ModelError:
    """The error for an adapter that is exactly the base model."""
    remedy = "train it, or serve the base model by leaving the adapter out"
    return ModelError("adapter without effect: its log-probabilities are the base model's", where=path, remedy=remedy)


def is_without_effect(folder: Path) -> bool:
    """Whether the adapter holds nothing but LoRA matrices and every ``lora_B`` is zero."""
    from safetensors import safe_open

    with safe_open(str(folder / "adapter_model.safetensors"), framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 (not a mapping)
            if "lora_A" not in key and ("lora_B" not in key or bool(file.get_tensor(key).count_nonzero())):
                return False
    return True
