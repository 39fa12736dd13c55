"""The default policy: served by vLLM, token ids in and out over ``/v1/completions``.

What comes back is what was sampled: ids with the stop token, and their log-probabilities under the sampling
distribution. Requests name every sampling parameter, so a server's own defaults cannot bend it. No per-request seed is
sent: vLLM's CPU build dies of one when a prompt is prefilled in pieces, and batched sampling does not repeat bit by
bit anyway. Adapters are loaded under names never used before, so the prefix cache never mixes versions.
"""

import asyncio
import itertools
import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from torch import Tensor

from copilot.errors import InfrastructureError, ModelError, ServerError
from copilot.policy.adapters import PROBE, adapter_without_effect, check_adapter_folder
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.policy.broadcast import BACKENDS, Broadcast
from copilot.policy.config import VllmConfig
from copilot.policy.tokens import load_tokenizer, stop_token_ids
from copilot.policy.vllm_server import SERVED_NAME, VllmServer

_RETRIES = 3
_READ_SECONDS = 1800.0
_CHOICE_SUM = 0.01
"""How far the probabilities of a restricted choice may be from adding up to 1."""
_LORA_REMEDY = (
    "see policy.max_lora_rank; a server of your own needs --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
)
_DEV_REMEDY = "the weights must be a folder the server can read; a server of your own needs VLLM_SERVER_DEV_MODE=1"
_TRANSFER_REMEDY = (
    'start it with VLLM_SERVER_DEV_MODE=1 and --weight-transfer-config \'{{"backend": "{backend}"}}\' (copilot_gloo '
    "where med-copilot is installed beside vLLM), or set policy.weight_sync: files"
)


class VllmPolicy(Policy):
    """The ``vllm`` engine.

    Args:
        config: Its section of the recipe; with ``url`` a running server is used and none started.
        model: Local folder or hub id; its tokenizer is loaded here.
        device: GPU (or tensor-parallel group) of this rank.
        log_folder: Where the server's log goes.
    """

    def __init__(self, config: VllmConfig, *, model: str, device: int | None, log_folder: Path) -> None:
        self._config, self._model = config, model
        self.label, self.context_length = model, config.max_model_len
        self._server = None if config.url else VllmServer(config, model=model, device=device, log_folder=log_folder)
        self._client: httpx.AsyncClient | None = None
        self._base_name = SERVED_NAME
        self._adapters: dict[str, str] = {}
        self._versions = itertools.count(1)
        self._broadcast: Broadcast | None = None

    async def start(self) -> None:
        """Start or find the server; see :meth:`Policy.start`."""
        self.tokenizer = await asyncio.to_thread(load_tokenizer, self._model)
        self._stop_ids = stop_token_ids(self.tokenizer, self._model)
        if self._server is not None:
            await self._server.start()
        url = self._server.url if self._server is not None else self._config.url.rstrip("/").removesuffix("/v1")
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(_READ_SECONDS, connect=10.0),
            limits=httpx.Limits(max_connections=max(64, 4 * self._config.max_num_seqs)),
            trust_env=False,
        )
        if self._server is None:
            try:
                await self._meet_server(url)
            except BaseException:
                await self.close()
                raise

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn; see :meth:`Policy.generate`.

        Raises:
            ServerError: The server this engine started has died; with the end of its log.
        """
        if request.prompt_ids is None:
            raise ModelError("the vllm engine needs prompt_ids", remedy="render the messages with its tokenizer")
        room = (self.context_length or 0) - len(request.prompt_ids)
        if room < 1:
            raise InfrastructureError("server", f"prompt of {len(request.prompt_ids)} tokens fills the context")
        if request.adapter is not None and request.adapter not in self._adapters:
            raise InfrastructureError("server", f"no adapter {request.adapter!r} is loaded")
        body = {
            "model": self._adapters[request.adapter] if request.adapter is not None else self._base_name,
            "prompt": request.prompt_ids,
            "max_tokens": min(request.sampling.max_tokens, room),
            "temperature": request.sampling.temperature,
            "top_p": request.sampling.top_p,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "stop_token_ids": self._stop_ids,
            "logprobs": 0,
            "return_token_ids": True,
        }
        answer = await self._post("/v1/completions", body)
        return self._generation(answer["choices"][0], request)

    async def choice_logprobs(
        self, prompt_ids: list[int], choices: Sequence[int], *, adapter: str | None = None
    ) -> list[float]:
        """Log-probabilities of the next token among ``choices`` alone, in their order; they exponentiate to 1 together.

        Args:
            prompt_ids: Tokens before it.
            choices: Token ids; the logits of all others count as minus infinity.
            adapter: Name of a loaded adapter; ``None``: the base model.

        Raises:
            InfrastructureError: The server failed, or did not answer for all of the choices.
        """
        body = {
            "model": self._adapters[adapter] if adapter is not None else self._base_name,
            "prompt": prompt_ids,
            "max_tokens": 1,
            "temperature": 1.0,
            "logprobs": len(choices),
            "allowed_token_ids": list(choices),
            "return_tokens_as_token_ids": True,
        }
        answer = await self._post("/v1/completions", body)
        top: dict[str, float] = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        found = [top.get(f"token_id:{choice}") for choice in choices]
        known = [value for value in found if value is not None]
        if len(known) < len(choices) or abs(sum(math.exp(value) for value in known) - 1) > _CHOICE_SUM:
            raise InfrastructureError("server", f"vLLM gave no distribution over {list(choices)}: {top}")
        return known

    async def load_adapter(self, name: str, path: str) -> None:
        """Hot-load a LoRA adapter; see :meth:`Policy.load_adapter`. One loaded as ``name`` before is replaced."""
        await asyncio.to_thread(check_adapter_folder, path)
        served = f"{name}-{os.getpid()}-{next(self._versions)}"
        body = {"lora_name": served, "lora_path": str(Path(path).resolve())}
        await self._manage("/v1/load_lora_adapter", body, path)
        if await self._probe(served) == await self._probe(self._base_name):
            await self._manage("/v1/unload_lora_adapter", {"lora_name": served}, path)
            raise adapter_without_effect(path)
        old = self._adapters.get(name)
        self._adapters[name] = served
        if old is not None:
            await self._manage("/v1/unload_lora_adapter", {"lora_name": old}, path)

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; see :meth:`Policy.unload_adapter`."""
        served = self._adapters.pop(name)
        await self._manage("/v1/unload_lora_adapter", {"lora_name": served}, name)

    async def load_weights(self, path: str) -> None:
        """Replace the full weights, with ``full_weights``; see :meth:`Policy.load_weights`.

        The workers read the folder themselves, and whatever was cached under the old weights is dropped.

        Raises:
            ModelError: No weights in the folder; vLLM would die of it.
            ServerError: The server refused.
        """
        if not any(Path(path).glob("*.safetensors")):
            raise ModelError("no safetensors in the folder", where=path, remedy="name a model's folder")
        request = {"method": "reload_weights", "kwargs": {"weights_path": str(Path(path).resolve())}}
        await self._manage("/collective_rpc", request, path, remedy=_DEV_REMEDY)
        await self._manage("/reset_prefix_cache", {}, path, remedy=_DEV_REMEDY)

    async def take_weights(self, tensors: Mapping[str, Tensor], gather: Callable[[Tensor], Tensor]) -> None:
        """Replace the full weights by a broadcast, with ``weight_sync``; see :meth:`Policy.take_weights`.

        Raises:
            ServerError: The server was not started for it, or refused.
        """
        sync = self._config.weight_sync
        assert sync != "files"
        if self._broadcast is None:
            assert self._client is not None
            response = await self._client.get("/get_world_size")
            remedy = _TRANSFER_REMEDY.format(backend=BACKENDS[sync])
            if response.status_code != httpx.codes.OK:
                raise ServerError("the server has no weight transfer", where="policy.weight_sync", remedy=remedy)
            self._broadcast = Broadcast(
                sync,
                url=str(self._client.base_url),
                workers=int(response.json()["world_size"]),
                manage=lambda path, body: self._manage(path, body, "policy.weight_sync", remedy=remedy),
            )
        await self._broadcast.send(tensors, gather)
        await self._manage("/reset_prefix_cache", {}, "policy.weight_sync", remedy=_DEV_REMEDY)

    async def sleep(self) -> None:
        """Weights to host memory, cache dropped, with ``sleep_mode``; see :meth:`Policy.sleep`."""
        if self._config.sleep_mode:
            await self._manage("/sleep?level=1", {}, "policy.sleep_mode")

    async def wake(self) -> None:
        """Weights back on the device; see :meth:`Policy.wake`."""
        if self._config.sleep_mode:
            await self._manage("/wake_up", {}, "policy.sleep_mode")

    async def close(self) -> None:
        """Stop the server if it is ours; see :meth:`Policy.close`."""
        if self._client is not None:
            await self._client.aclose()
            self._client = self._broadcast = None
        if self._server is not None:
            await self._server.stop()

    def _generation(self, choice: dict[str, Any], request: GenerationRequest) -> Generation:
        assert self.tokenizer is not None
        token_ids, reason = list(choice["token_ids"]), choice["finish_reason"]
        logprobs = list(choice["logprobs"]["token_logprobs"])
        stopped = reason == "stop"
        if reason not in ("stop", "length") or len(logprobs) != len(token_ids):
            raise InfrastructureError("server", f"vLLM ended a turn with {reason!r} after {len(token_ids)} tokens")
        if stopped != (bool(token_ids) and token_ids[-1] in self._stop_ids):
            raise InfrastructureError("server", f"vLLM ended a turn with {reason!r} but token {token_ids[-1:]}")
        return Generation(
            text=str(self.tokenizer.decode(token_ids[:-1] if stopped else token_ids, skip_special_tokens=True)),
            finish_reason=reason,
            token_ids=token_ids,
            logprobs=logprobs,
            policy_version=f"{self._model}@{request.adapter}" if request.adapter else self._model,
            prompt_tokens=len(request.prompt_ids or ()),
            completion_tokens=len(token_ids),
        )

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self._send(path, body)
        if response.status_code != httpx.codes.OK:
            self._require_alive()
            raise InfrastructureError("server", f"vLLM answered {response.status_code}: {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer

    async def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        assert self._client is not None, "the engine has not been started"
        for attempt in itertools.count():
            try:
                return await self._client.post(path, json=body)
            except httpx.TransportError as error:
                self._require_alive()
                if attempt == _RETRIES:
                    message = f"no answer from {self._client.base_url}: {type(error).__name__}: {error}"
                    raise InfrastructureError("server", message) from error
                await asyncio.sleep(0.5 * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _require_alive(self) -> None:
        if self._server is not None and not self._server.alive:
            raise self._server.failure("vLLM died while serving")

    async def _manage(self, path: str, body: dict[str, Any], where: str, *, remedy: str = _LORA_REMEDY) -> None:
        response = await self._send(path, body)
        if response.status_code != httpx.codes.OK:
            self._require_alive()
            what = f"the server refused {path} ({response.status_code}): {response.text[:300]}"
            raise ServerError(what, where=where, remedy=remedy)

    async def _probe(self, served: str) -> list[dict[str, Any] | None]:
        """Log-probabilities of :data:`PROBE` under a served model."""
        assert self.tokenizer is not None
        ids = self.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        body = {"model": served, "prompt": ids, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0}
        answer = await self._post("/v1/completions", body)
        probed: list[dict[str, Any] | None] = answer["choices"][0]["prompt_logprobs"]
        return probed

    async def _meet_server(self, url: str) -> None:
        """Learn a running server's model and context; its log-probabilities must be the sampling distribution's."""
        assert self._client is not None
        remedy = "check policy.url and that the server runs; or leave the url out to start one"
        try:
            response = await self._client.get("/v1/models")
        except httpx.TransportError as error:
            raise ServerError(f"no server answers: {error}", where=url, remedy=remedy) from error
        if response.status_code != httpx.codes.OK:
            raise ServerError(f"the server answered {response.status_code} to /v1/models", where=url, remedy=remedy)
        served = response.json()["data"][0]
        self._base_name = str(served["id"])
        self.context_length = min(self._config.max_model_len, int(served["max_model_len"]))
        if await self._first_logprob(1.0) == await self._first_logprob(0.5):
            raise ServerError(
                "the server's log-probabilities do not know the temperature",
                where=url,
                remedy="start it with --logprobs-mode processed_logprobs",
            )

    async def _first_logprob(self, temperature: float) -> dict[str, float]:
        assert self.tokenizer is not None
        ids = self.tokenizer(PROBE, add_special_tokens=False)["input_ids"]
        body = {"model": self._base_name, "prompt": ids, "max_tokens": 1, "temperature": temperature, "logprobs": 1}
        answer = await self._post("/v1/completions", body)
        top: dict[str, float] = answer["choices"][0]["logprobs"]["top_logprobs"][0]
        best = max(top, key=lambda token: top[token])
        return {best: top[best]}
