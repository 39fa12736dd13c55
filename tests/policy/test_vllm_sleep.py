"""The contract with vLLM's sleep and wake endpoints, against a server that writes down what it is asked."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from copilot.errors import ServerError
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_engine import VllmPolicy
from copilot.policy.vllm_server import VllmServer


class Recorder(HTTPServer):
    asked: list[str]
    status = 200


class Handler(BaseHTTPRequestHandler):
    server: Recorder

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def sleep_and_wake(recorder: Recorder, folder: Path, *, sleep_mode: bool) -> None:
    url = f"http://127.0.0.1:{recorder.server_port}"
    policy = VllmPolicy(VllmConfig(url=url, sleep_mode=sleep_mode), model="m", device=None, log_folder=folder)
    policy._client = httpx.AsyncClient(base_url=url)
    await policy.sleep()
    await policy.wake()
    await policy.close()


def test_the_server_is_put_to_sleep_and_woken(recorder: Recorder, tmp_path: Path) -> None:
    asyncio.run(sleep_and_wake(recorder, tmp_path, sleep_mode=True))
    assert recorder.asked == ["/sleep?level=1", "/wake_up"]


def test_nothing_is_asked_without_sleep_mode(recorder: Recorder, tmp_path: Path) -> None:
    asyncio.run(sleep_and_wake(recorder, tmp_path, sleep_mode=False))
    assert recorder.asked == []


def test_a_server_that_cannot_is_an_error(recorder: Recorder, tmp_path: Path) -> None:
    recorder.status = 404
    with pytest.raises(ServerError, match="/sleep"):
        asyncio.run(sleep_and_wake(recorder, tmp_path, sleep_mode=True))


def test_the_command_asks_for_it(tmp_path: Path) -> None:
    server = VllmServer(VllmConfig(sleep_mode=True), model="m", device=None, log_folder=tmp_path)
    assert "--enable-sleep-mode" in server.command(1)
    assert server.environment({})["VLLM_SERVER_DEV_MODE"] == "1"
    plain = VllmServer(VllmConfig(), model="m", device=None, log_folder=tmp_path)
    assert "--enable-sleep-mode" not in plain.command(1)
