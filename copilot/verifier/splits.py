"""Which tasks a verifier may not be evaluated on: those it was trained or calibrated on."""

import hashlib
from collections.abc import Iterable

from copilot.errors import DataError
from copilot.verifier.config import VerifierInfo


def task_hash(task_id: str) -> str:
    """What a verifier's folder keeps of a task: enough to recognise it, nothing to read."""
    return hashlib.sha256(task_id.encode()).hexdigest()[:16]


def check_unseen(info: VerifierInfo, task_ids: Iterable[str]) -> None:
    """The tasks must be new to the verifier.

    Raises:
        DataError: Some are not; with counts.
    """
    tasks, seen = set(task_ids), set(info.trained_on)
    shared = {task for task in tasks if task_hash(task) in seen}
    if shared:
        raise DataError(
            f"the verifier was trained or calibrated on {len(shared)} of {len(tasks)} tasks, {min(shared)} among them",
            remedy="evaluate it on other tasks: figures on these say nothing",
        )
