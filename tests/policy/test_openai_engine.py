"""The API engine against a real local HTTP server: retries, errors, usage, and the key that stays secret."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from copilot.envs.task import Reference, Task
from copilot.errors import InfrastructureError, ServerError
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.policy.config import OpenAIConfig
from copilot.policy.openai_engine import OpenAIPolicy
from copilot.reward.answers import StringAnswer

KEY = "sk-very-secret-0123456789"
TASK = Task(id="t/0", source="none", split="train", question="q", reference=Reference(answer=StringAnswer(value="x")))
GOOD = {
    "id": "chat-1",
    "model": "teacher-2026",
    "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3},
}


class Api(ThreadingHTTPServer):
    """Answers with the scripted (status, body, headers), then with GOOD; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.running = self.most = 0
        self.lock = threading.Lock()
        self.gate: threading.Event | None = None


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append({"path": self.path, **body})
            self.server.keys.append(self.headers.get("Authorization"))
            self.server.running += 1
            self.server.most = max(self.server.most, self.server.running)
            status, answer, headers = self.server.script.pop(0) if self.server.script else (200, GOOD, {})
        if self.server.gate is not None:
            self.server.gate.wait(0.05)
        with self.server.lock:
            self.server.running -= 1
        if status == 0:  # break the connection off
            self.connection.close()
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    monkeypatch.setenv("TEST_KEY", KEY)
    server = Api()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(api: Api, count: int = 1, **config: Any) -> list[Generation]:
    settings = {"model": "teacher", "url": f"http://127.0.0.1:{api.server_port}/v1", "api_key_env": "TEST_KEY"}

    async def body() -> list[Generation]:
        policy = OpenAIPolicy(OpenAIConfig(**(settings | config)), backoff=0.01)
        await policy.start()
        try:
            return await asyncio.gather(*[policy.generate(request(i)) for i in range(count)])
        finally:
            await policy.close()

    return asyncio.run(body())


def request(seed: int = 0) -> GenerationRequest:
    messages = [{"role": "user", "content": "hi"}]
    sampling = SamplingParams(temperature=0.5, max_tokens=9)
    return GenerationRequest(messages=messages, prompt_ids=None, task=TASK, turn=0, sampling=sampling, seed=seed)


def test_a_turn_carries_text_usage_and_version(api: Api) -> None:
    (answer,) = ask(api)
    assert (answer.text, answer.finish_reason, answer.token_ids, answer.logprobs) == ("hello", "stop", None, None)
    assert (answer.prompt_tokens, answer.completion_tokens, answer.policy_version) == (11, 3, "teacher-2026")
    assert answer.extra == {"request_id": "chat-1", "usage": GOOD["usage"]}
    (asked,) = api.asked
    assert asked == {
        "path": "/v1/chat/completions",
        "model": "teacher",
        "messages": [{"role": "user", "content": "hi"}],
        "temperature": 0.5,
        "top_p": 1.0,
        "max_tokens": 9,
        "seed": 0,
    }
    assert api.keys == [f"Bearer {KEY}"]


@pytest.mark.parametrize("trouble", [(429, {"error": "slow"}, {"Retry-After": "0.02"}), (503, b"", {}), (0, b"", {})])
def test_passing_trouble_is_retried(api: Api, trouble: tuple[int, Any, dict[str, str]]) -> None:
    api.script = [trouble, trouble]
    assert ask(api)[0].text == "hello"
    assert len(api.asked) == 3


def test_lasting_trouble_is_an_infrastructure_failure(api: Api) -> None:
    api.script = [(500, {"error": f"boom for {KEY}"}, {})] * 3
    with pytest.raises(InfrastructureError, match=r"after 2 retries.*boom") as caught:
        ask(api, retries=2)
    assert KEY not in str(caught.value)
    assert len(api.asked) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_mistake_ends_at_once_and_never_shows_the_key(
    api: Api, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.script = [(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}}, {})]
    with pytest.raises(ServerError) as caught:
        ask(api)
    assert len(api.asked) == 1
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text
    assert caught.value.remedy


@pytest.mark.parametrize("answer", [b"<html>", {"choices": []}, {"error": "x"}, {"choices": [{"message": None}]}])
def test_nonsense_is_an_infrastructure_failure(api: Api, answer: Any) -> None:
    api.script = [(200, answer, {})]
    with pytest.raises(InfrastructureError):
        ask(api)


def test_no_more_requests_in_flight_than_allowed(api: Api) -> None:
    api.gate = threading.Event()
    ask(api, count=12, max_concurrency=3)
    assert len(api.asked) == 12
    assert api.most <= 3


def test_a_cut_turn_says_so(api: Api) -> None:
    api.script = [(200, GOOD | {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, {})]
    (answer,) = ask(api)
    assert (answer.text, answer.finish_reason) == ("", "length")


def test_a_third_party_needs_a_key_and_a_server_of_ones_own_does_not(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(ServerError, match="no API key"):
        ask(api)
    assert ask(api, third_party=False)[0].text == "hello"
    assert api.keys == [None]
