"""The verifier's section of a recipe, and what its folder says of it; nothing heavy is imported here."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, ValidationError

from copilot.config import Record, StrictModel
from copilot.errors import ModelError
from copilot.verifier.calibration import Calibration

INFO_FILE = "verifier.json"
"""Beside the weights; a folder without it is no verifier."""

Head = Literal["yes_no", "scalar"]
"""``yes_no``: the difference of the logits of YES and NO as the next token, through the model's own output head (the
form of arXiv 2506.04405); ``scalar``: a new linear layer on the last hidden state."""


class VerifierSettings(StrictModel):
    """What a verifier is and how much it reads."""

    head: Head = "yes_no"
    """Where the score is read off; see :data:`Head`."""
    max_tokens: PositiveInt = 2048
    """Longest input; of longer episodes the task and the end are kept, the earliest turns are cut (and counted)."""


class VerifierInfo(Record):
    """What a scorer must know of a trained verifier: ``verifier.json``."""

    head: Head
    """Kind of head."""
    base: str
    """Base model's name or folder."""
    max_tokens: int
    """Longest input it was trained on."""
    yes_id: int
    """Token id that stands for YES."""
    no_id: int
    """Token id that stands for NO."""
    calibration: Calibration = Field(default_factory=Calibration)
    """From logit to probability."""
    trained_on: tuple[str, ...] = ()
    """SHA-256 (first 16 hex digits) of the ids of the tasks it was trained or calibrated on."""


def read_info(folder: str | Path) -> VerifierInfo:
    """The description of a trained verifier.

    Raises:
        ModelError: The folder is no verifier, or its description cannot be read.
    """
    path = Path(folder) / INFO_FILE
    remedy = "name the weights folder of a verifier stage"
    if not path.is_file():
        raise ModelError(f"no {INFO_FILE} in the folder: not a verifier", where=folder, remedy=remedy)
    try:
        return VerifierInfo.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(f"{error.errors()[0]['msg']}", where=path, remedy=remedy) from error
