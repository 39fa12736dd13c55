"""Submitted code on hidden inputs: run in a fresh sandbox after submission, compared on the host.

The policy hands in the text of a program. A sandbox that the episode never touched gets the task's files, the text and
then one hidden input after the other; what it returns is data. Expected outputs stay on the host, so there is nothing
in that sandbox to copy.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from copilot.envs.sandboxes.base import SandboxBackend, SandboxSpec

MAX_CODE = 100_000
"""Longest program that is run, in characters."""

_CASE = "import json as _json\n_output = {entry}(*_json.loads({inputs!r}))\n"


async def run_hidden(
    code: JsonValue,
    entry: str,
    inputs: Sequence[JsonValue],
    backend: SandboxBackend,
    *,
    files: dict[str, Path] | None = None,
    before: str = "",
    seconds: float = 10.0,
) -> JsonValue:
    """One ``{"value": ...}`` or ``{"error": ...}`` per input.

    Args:
        code: Hostile: the text of a program that defines ``entry``.
        entry: Name of the function that is called.
        inputs: Lists of positional arguments.
        backend: Opens the fresh sandbox.
        files: Files of the task.
        before: Code of the task that runs first.
        seconds: Wall time per input.
    """
    if not isinstance(code, str) or not code.strip() or len(code) > MAX_CODE:
        return None
    outputs: list[JsonValue] = []
    async with await backend.open(SandboxSpec(files=files or {}, preamble=before)) as sandbox:
        defined = await sandbox.execute(code, timeout=seconds)
        if defined.status != "ok":
            return [{"error": f"{defined.status}: {defined.error_type}"} for _ in inputs]
        for arguments in inputs:
            cell = _CASE.format(entry=entry, inputs=json.dumps(arguments))
            result = await sandbox.execute(cell, timeout=seconds)
            if result.status != "ok":
                outputs.append({"error": f"{result.status}: {result.error_type}"})
                if result.state_lost:
                    break
                continue
            try:
                outputs.append({"value": await sandbox.value("_output")})
            except (KeyError, ValueError) as error:  # the policy's value has no JSON form
                outputs.append({"error": str(error)})
    return outputs
