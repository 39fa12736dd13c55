"""Real processes for tests of ranks and kills: forked, so that torch is imported once and not by each of them."""

import json
import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: F401  # imported before forking
import transformers  # noqa: F401

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


class Rank:
    """A forked process that calls a function and leaves its JSON result in a file."""

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any], result: Path, port: int) -> None:
        self._result = result
        self.process: BaseProcess = multiprocessing.get_context("fork").Process(
            target=self._child, args=(function, arguments, port), daemon=False
        )
        self.process.start()

    def _child(self, function: Callable[..., Any], arguments: dict[str, Any], port: int) -> None:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        self._result.write_text(json.dumps(function(**arguments)))

    def result(self) -> Any:
        """What the function returned."""
        self.process.join(timeout=120)
        assert self.process.exitcode == 0
        return json.loads(self._result.read_text())

    def kill(self) -> None:
        """SIGKILL, no goodbyes."""
        self.process.kill()
        self.process.join(timeout=30)


@pytest.fixture
def start_rank(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Rank]:
    """Starts ``function(**arguments)`` in a process of its own."""
    folder = tmp_path_factory.mktemp("ranks")

    def start(function: Callable[..., Any], *, port: int = 0, **arguments: Any) -> Rank:
        return Rank(function, arguments, folder / f"{len(list(folder.iterdir()))}-{os.urandom(4).hex()}.json", port)

    return start
