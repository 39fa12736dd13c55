"""Peers of ``sandbox.py``, each started and used through its own public interface, in an environment of their own.

    PYTHON benchmarks/_sandbox_peers.py NAME

Prints a line of JSON: ``starts``, seconds until the first pandas cell is answered; ``cells``, of an empty cell.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable

FIRST = "import pandas as pd\nprint(pd.DataFrame({'a': [1, 2]}).a.sum())"


def timed(act: Callable[[], object]) -> float:
    """Seconds ``act`` takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def jupyter_kernel() -> dict[str, list[float]]:
    """An ipykernel through jupyter_client."""
    from jupyter_client.manager import start_new_kernel

    starts, cells = [], []
    for _ in range(5):
        began = time.perf_counter()
        manager, client = start_new_kernel(kernel_name="python3")
        client.execute_interactive(FIRST, output_hook=lambda message: None, timeout=60)
        starts.append(time.perf_counter() - began)
        cells += [
            timed(lambda c=client: c.execute_interactive("pass", output_hook=lambda message: None)) for _ in range(50)
        ]
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return {"starts": starts, "cells": cells}


def smolagents_local() -> dict[str, list[float]]:
    """smolagents' AST interpreter, in this process; pandas is imported before the clock starts, as in an agent."""
    import pandas  # noqa: F401
    from smolagents.local_python_executor import LocalPythonExecutor

    starts, cells = [], []
    for _ in range(20):
        began = time.perf_counter()
        executor = LocalPythonExecutor(additional_authorized_imports=["pandas"])
        executor.send_tools({})
        executor(FIRST)
        starts.append(time.perf_counter() - began)
        cells += [timed(lambda e=executor: e("pass")) for _ in range(50)]
    return {"starts": starts, "cells": cells}


def swe_rex_local() -> dict[str, list[float]]:
    """SWE-ReX's local deployment: a bash session; python runs as a command in it."""
    from swerex.deployment.local import LocalDeployment
    from swerex.runtime.abstract import BashAction, CreateBashSessionRequest

    async def go() -> dict[str, list[float]]:
        starts, cells = [], []
        for _ in range(4):
            began = time.perf_counter()
            deployment = LocalDeployment()
            await deployment.start()
            await deployment.runtime.create_session(CreateBashSessionRequest())
            command = f"{sys.executable} -c {json.dumps(FIRST)!s}".replace("\\n", "; ")
            await deployment.runtime.run_in_session(BashAction(command=command))
            starts.append(time.perf_counter() - began)
            for _ in range(10):
                began = time.perf_counter()
                await deployment.runtime.run_in_session(BashAction(command="true"))
                cells.append(time.perf_counter() - began)
            await deployment.stop()
        return {"starts": starts, "cells": cells}

    return asyncio.run(go())


if __name__ == "__main__":
    known = {"jupyter kernel": jupyter_kernel, "smolagents local": smolagents_local, "swe-rex local": swe_rex_local}
    print(json.dumps(known[sys.argv[1]]()))
