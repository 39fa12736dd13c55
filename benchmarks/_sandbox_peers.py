"""Peers of ``sandbox.py``, each started and used through its own public interface, in an environment of their own.

    PYTHON benchmarks/_sandbox_peers.py NAME

Prints a line of JSON: ``starts``, seconds until the first pandas cell is answered; ``cells``, of an empty cell.
"""

import asyncio
import json
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

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


def llm_sandbox_docker() -> dict[str, list[float]]:
    """llm-sandbox on Docker: a container per session, a file copied in and an exec per cell, no state between cells."""
    from llm_sandbox import SandboxSession

    image = _peer_image("cell", 'CMD ["sleep", "infinity"]\n')
    starts, cells = [], []
    for _ in range(3):
        began = time.perf_counter()
        with SandboxSession(lang="python", image=image, keep_template=True, skip_environment_setup=True) as session:
            assert session.run(FIRST).stdout.strip() == "3"
            starts.append(time.perf_counter() - began)
            cells += [timed(lambda s=session: s.run("pass")) for _ in range(5)]
    return {"starts": starts, "cells": cells}


def smolagents_docker() -> dict[str, list[float]]:
    """smolagents' DockerExecutor: a Jupyter kernel gateway in a container, a web socket per cell; its own image."""
    from smolagents.monitoring import AgentLogger, LogLevel
    from smolagents.remote_executors import DockerExecutor

    gateway = (
        'ENV PYTHONPATH=/opt/site:/opt/gateway HOME=/root KG_IP=0.0.0.0\nCMD ["python3", "-m", "kernel_gateway"]\n'
    )
    image = _peer_image("gateway", "COPY gateway /opt/gateway\n" + gateway)
    starts, cells = [], []
    for _ in range(3):
        began = time.perf_counter()
        executor = DockerExecutor([], AgentLogger(LogLevel.ERROR), image_name=image, build_new_image=False)
        assert executor(FIRST).logs.strip() == "3"
        starts.append(time.perf_counter() - began)
        cells += [timed(lambda e=executor: e("pass")) for _ in range(20)]
        executor.cleanup()
    return {"starts": starts, "cells": cells}


def _peer_image(name: str, steps: str) -> str:
    """An image with the sandbox image's packages and no runner; ``gateway``: also this environment's packages."""
    import docker

    client = docker.from_env()
    tag = f"med-copilot-peer-{name}"
    with tempfile.TemporaryDirectory() as folder:
        if "gateway" in steps:
            unused = shutil.ignore_patterns(
                "pandas*", "numpy*", "pillow*", "PIL", "pip", "debugpy", "hf_xet", "__pycache__"
            )
            shutil.copytree(sysconfig.get_path("purelib"), Path(folder) / "gateway", ignore=unused)
        base = "FROM med-copilot-sandbox\nUSER root\nENTRYPOINT []\n"
        folders = "RUN rm /tmp && mkdir -m 1777 /tmp && ln -s python3 /usr/bin/python\n"
        (Path(folder) / "Dockerfile").write_text(base + folders + steps)
        client.images.build(path=folder, tag=tag, rm=True, network_mode="none")
    return tag


KNOWN = {
    "jupyter kernel": jupyter_kernel,
    "smolagents local": smolagents_local,
    "smolagents docker": smolagents_docker,
    "llm-sandbox docker": llm_sandbox_docker,
    "swe-rex local": swe_rex_local,
}

if __name__ == "__main__":
    print(json.dumps(KNOWN[sys.argv[1]]()))
