"""Network denial (43, 44, 45), proven against listeners that a control, the same code outside, does reach."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

CLIENT = """
import json, socket
def reach(family, kind, address):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.connect(tuple(address) if isinstance(address, list) else address)
            s.send(b"x")
            return s.recv(1).decode()
    except OSError as error:
        return type(error).__name__
print(json.dumps([reach(*target) for target in json.loads(%r)]))
"""


class Listeners:
    """Echo servers on the host; counts what reached them."""

    def __init__(self, folder: Path) -> None:
        self.heard = 0
        self.targets: list[tuple[int, int, Any]] = []
        self.stack = ExitStack()
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "s")),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{folder}"),
        ]
        for family, kind, address in addresses:
            server = self.stack.enter_context(socket.socket(family, kind))
            try:
                server.bind(address)
            except OSError:
                continue  # no IPv6 on this host: nothing to reach
            bound = server.getsockname()
            self.targets.append((family, kind, bound.decode() if isinstance(bound, bytes) else bound))
            threading.Thread(target=self._serve, args=(server, kind), daemon=True).start()

    def _serve(self, server: socket.socket, kind: int) -> None:
        try:
            if kind == socket.SOCK_DGRAM:
                while True:
                    data, peer = server.recvfrom(10)
                    self.heard += 1
                    server.sendto(data, peer)
            server.listen()
            while True:
                with server.accept()[0] as client:
                    self.heard += 1
                    client.send(client.recv(1))
        except OSError:
            return


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[Listeners]:
    found = Listeners(tmp_path)
    with found.stack:
        yield found


def test_no_listener_is_reached_that_a_control_reaches(world: Any, listeners: Listeners) -> None:
    code = CLIENT % json.dumps(listeners.targets)
    control = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count = len(listeners.targets)
    assert count >= 4
    assert json.loads(control.stdout) == ["x"] * count
    assert listeners.heard == count
    inside, shell = world.cells(code, f"!python3 -c '{code.replace(chr(39), chr(34))}' || true")
    assert inside.status == "ok"
    assert "x" not in json.loads(inside.stdout)
    assert '"x"' not in shell.stdout
    assert listeners.heard == count
