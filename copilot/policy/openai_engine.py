"""Any OpenAI-compatible chat API as a policy: teachers and leaderboard models. No token ids, no log-probabilities.

The key is read from the environment when the engine starts and goes into one header; it is cut out of every message
that reaches an error or a log.
"""

import asyncio
import os
import random
from typing import Any

import httpx

from copilot.errors import InfrastructureError, ServerError
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.policy.config import OpenAIConfig

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MISTAKES = {401: "check the key in {env}", 403: "the key in {env} may not use this model", 404: "check url and model"}
_MAX_WAIT_SECONDS = 60.0


class OpenAIPolicy(Policy):
    """The ``openai`` engine.

    Args:
        config: Its section of the recipe.
        backoff: Seconds before the first retry; doubled for each further one.
    """

    def __init__(self, config: OpenAIConfig, *, backoff: float = 1.0) -> None:
        self._config, self._backoff, self.label = config, backoff, config.model
        self._client: httpx.AsyncClient | None = None
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._key = ""

    async def start(self) -> None:
        """Read the key and open the connection pool.

        Raises:
            ServerError: A third party's API without a key.
        """
        self._key = os.environ.get(self._config.api_key_env, "")
        if not self._key and self._config.third_party:
            remedy = f"export {self._config.api_key_env}=..., or set third_party: false for a server of your own"
            raise ServerError("no API key", where=self._config.url, remedy=remedy)
        self._client = httpx.AsyncClient(
            base_url=self._config.url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self._config.timeout,
            limits=httpx.Limits(max_connections=self._config.max_concurrency),
        )

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn; see :meth:`Policy.generate`.

        Raises:
            ServerError: The API refuses the key or does not know the model.
        """
        body = {
            "model": self._config.model,
            "messages": request.messages,
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "max_tokens": request.sampling.max_tokens,
            "seed": request.seed % 2**31,
        }
        async with self._slots:
            answer = await self._ask(body)
        try:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            text, reason = choice["message"]["content"] or "", choice["finish_reason"]
        except (KeyError, IndexError, TypeError) as error:
            raise InfrastructureError("server", f"not a chat completion: {self._safe(str(answer))[:300]}") from error
        return Generation(
            text=text,
            finish_reason="length" if reason == "length" else "stop",
            policy_version=str(answer.get("model", self._config.model)),
            prompt_tokens=int(usage.get("prompt_tokens", 0)),
            completion_tokens=int(usage.get("completion_tokens", 0)),
            extra={"request_id": answer.get("id", ""), "usage": usage},
        )

    async def close(self) -> None:
        """Close the connections; see :meth:`Policy.close`."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        assert self._client is not None, "the engine has not been started"
        trouble = ""
        for attempt in range(self._config.retries + 1):
            wait = min(self._backoff * 2**attempt, _MAX_WAIT_SECONDS) * random.uniform(0.5, 1.5)
            try:
                response = await self._client.post("chat/completions", json=body)
            except httpx.TransportError as error:
                trouble = f"{type(error).__name__}: {error}"
            else:
                if response.status_code == httpx.codes.OK:
                    return self._json(response)
                trouble = f"{response.status_code}: {response.text[:500]}"
                if response.status_code not in _RETRIED:
                    raise self._refusal(response.status_code, trouble)
                wait = max(wait, _retry_after(response))
            if attempt < self._config.retries:
                await asyncio.sleep(wait)
        message = f"{self._config.url} gave up after {self._config.retries} retries: {self._safe(trouble)}"
        raise InfrastructureError("server", message)

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            return dict(response.json())
        except ValueError as error:
            raise InfrastructureError("server", f"no JSON: {self._safe(response.text)[:300]}") from error

    def _refusal(self, status: int, trouble: str) -> Exception:
        if status in _MISTAKES:
            remedy = _MISTAKES[status].format(env=self._config.api_key_env)
            return ServerError(f"the API refused: {self._safe(trouble)}", where=self._config.url, remedy=remedy)
        return InfrastructureError("server", f"the API refused the request: {self._safe(trouble)}")

    def _safe(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


def _retry_after(response: httpx.Response) -> float:
    """Seconds the server asks to wait; 0 when it says nothing, or a date."""
    value = response.headers.get("retry-after", "")
    return min(float(value), _MAX_WAIT_SECONDS) if value.replace(".", "", 1).isdigit() else 0.0
