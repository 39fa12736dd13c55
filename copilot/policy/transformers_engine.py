"""A policy inside this process, on any device: continuous batching over transformers, without a server.

One worker thread owns the model; requests, adapter loads and the end of life all reach it through one queue, so
nothing of torch is ever touched by two threads. Requests that arrive while others decode join the running batch.
"""

import asyncio
import contextlib
import logging
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from copilot.errors import InfrastructureError, ModelError
from copilot.policy.adapters import PROBE, adapter_without_effect, check_adapter_folder
from copilot.policy.base import Generation, GenerationRequest, Policy
from copilot.policy.config import TransformersConfig
from copilot.policy.tokens import load_tokenizer, stop_token_ids

if TYPE_CHECKING:
    import torch

    from copilot.policy.decoding import Lane, Row

logger = logging.getLogger(__name__)


@dataclass
class _Job:
    """A row and who waits for it."""

    row: "Row"
    adapter: str | None
    future: "Future[Row]"


@dataclass
class _Call:
    """Something to be done by the worker between two steps."""

    action: Callable[[], None]
    future: "Future[None]"


class TransformersPolicy(Policy):
    """The ``transformers`` engine.

    Args:
        config: Its section of the recipe.
        model: Local folder or hub id.
        device: GPU index; ``None``: the first GPU, else the CPU.
    """

    def __init__(self, config: TransformersConfig, *, model: str, device: int | None = None) -> None:
        self._config, self._path, self._device_index = config, model, device
        self.label, self.context_length = model, config.max_model_len
        self._inbox: queue.SimpleQueue[_Job | _Call | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._adapters: dict[str, str] = {}

    async def start(self) -> None:
        """Load the model; see :meth:`Policy.start`."""
        self.tokenizer = await asyncio.to_thread(load_tokenizer, self._path)
        self._stop_ids = frozenset(stop_token_ids(self.tokenizer, self._path))
        await asyncio.to_thread(self._load)
        self._thread = threading.Thread(target=self._work, name="transformers-policy", daemon=True)
        self._thread.start()

    async def generate(self, request: GenerationRequest) -> Generation:
        """Sample one turn; see :meth:`Policy.generate`."""
        from copilot.policy.decoding import Row

        if request.prompt_ids is None:
            raise ModelError(
                "the transformers engine needs prompt_ids", remedy="render the messages with its tokenizer"
            )
        if self._thread is None or not self._thread.is_alive():
            raise InfrastructureError("server", "the transformers engine is not running")
        if request.adapter is not None and request.adapter not in self._adapters:
            raise InfrastructureError("server", f"no adapter {request.adapter!r} is loaded")
        room = min(request.sampling.max_tokens, self._config.max_model_len - len(request.prompt_ids))
        if room < 1:
            raise InfrastructureError("server", f"prompt of {len(request.prompt_ids)} tokens fills the context")
        future: Future[Row] = Future()
        row = Row(
            ids=list(request.prompt_ids),
            prompt_length=len(request.prompt_ids),
            sampling=request.sampling,
            room=room,
            random=random.Random(request.seed),
            cancelled=future.cancelled,
        )
        self._inbox.put(_Job(row, request.adapter, future))
        return self._generation(await asyncio.wrap_future(future), request.adapter)

    async def load_adapter(self, name: str, path: str) -> None:
        """Load a LoRA adapter; see :meth:`Policy.load_adapter`."""
        await asyncio.to_thread(check_adapter_folder, path)
        await self._call(lambda: self._load_adapter(name, path))
        self._adapters[name] = path

    async def unload_adapter(self, name: str) -> None:
        """Forget an adapter; see :meth:`Policy.unload_adapter`."""
        del self._adapters[name]
        await self._call(lambda: self._unload_adapter(name))

    async def load_weights(self, path: str) -> None:
        """Replace the full weights; see :meth:`Policy.load_weights`."""
        await self._call(lambda: self._load_weights(path))

    async def close(self) -> None:
        """Stop the worker and free the model; see :meth:`Policy.close`."""
        if self._thread is not None:
            self._inbox.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None

    def _generation(self, row: "Row", adapter: str | None) -> Generation:
        assert self.tokenizer is not None
        sampled = row.ids[row.prompt_length :]
        spoken = sampled[:-1] if row.finish_reason == "stop" else sampled
        return Generation(
            text=str(self.tokenizer.decode(spoken, skip_special_tokens=True)),
            finish_reason=row.finish_reason or "length",
            token_ids=sampled,
            logprobs=row.logprobs,
            policy_version=f"{self._path}@{adapter}" if adapter else self._path,
            prompt_tokens=row.prompt_length,
            completion_tokens=len(sampled),
        )

    async def _call(self, action: Callable[[], None]) -> None:
        future: Future[None] = Future()
        self._inbox.put(_Call(action, future))
        await asyncio.wrap_future(future)

    def _load(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        from copilot.models.quiet import quiet_transformers
        from copilot.policy.kv_cache import PrefixCache

        cuda = torch.cuda.is_available()
        self._device = torch.device("cuda", self._device_index or 0) if cuda else torch.device("cpu")
        automatic = "bfloat16" if cuda else "float32"
        dtype = automatic if self._config.dtype == "auto" else self._config.dtype
        try:
            with quiet_transformers():
                model = AutoModelForCausalLM.from_pretrained(self._path, dtype=dtype, use_safetensors=True)
        except (OSError, ValueError) as error:
            remedy = "check the folder (config.json, *.safetensors) or the id"
            raise ModelError(f"the model cannot be loaded: {error}", where=self._path, remedy=remedy) from error
        kinds = set(model.config.to_dict().get("layer_types") or ["full_attention"])
        if not kinds <= {"full_attention", "sliding_attention"}:
            remedy = "serve it with the vllm engine"
            raise ModelError(f"layers {sorted(kinds)} need another cache", where=self._path, remedy=remedy)
        self._model: Any = model.eval().to(self._device)
        self._peft: Any = None
        self._prefixes = PrefixCache(int(self._config.prefix_cache_gb * 2**30))
        self._lanes: dict[str | None, Lane] = {}
        self._futures: dict[int, Future[Row]] = {}

    def _work(self) -> None:
        """The worker: takes what came in, lets rows join, steps every lane; until told to end."""
        import torch

        waiting: deque[_Job] = deque()
        with torch.inference_mode():
            while True:
                busy = bool(waiting or self._futures)
                with contextlib.suppress(queue.Empty):
                    while True:
                        item = self._inbox.get(block=not busy)
                        if item is None:
                            self._fail([job.future for job in waiting] + list(self._futures.values()), "engine closed")
                            return
                        if isinstance(item, _Call):
                            self._run_call(item)
                        else:
                            waiting.append(item)
                            busy = True
                self._admit(waiting)
                for lane in list(self._lanes.values()):
                    self._guard(lane, lane.step)

    def _admit(self, waiting: deque[_Job]) -> None:
        room = self._config.max_batch - len(self._futures)
        jobs = [waiting.popleft() for _ in range(min(room, len(waiting)))]
        for adapter in dict.fromkeys(job.adapter for job in jobs):
            mine = [job for job in jobs if job.adapter == adapter and not job.future.cancelled()]
            if not mine:
                continue
            self._futures.update({id(job.row): job.future for job in mine})
            lane = self._lane(adapter)
            self._guard(lane, lambda lane=lane, mine=mine: lane.admit([job.row for job in mine]))  # type: ignore[misc]

    def _lane(self, adapter: str | None) -> "Lane":
        from copilot.policy.decoding import Lane

        if adapter not in self._lanes:
            self._lanes[adapter] = Lane(self._model, adapter, self._stop_ids, self._prefixes, self._device)
        return self._lanes[adapter]

    def _guard(self, lane: "Lane", action: "Callable[[], list[Row]]") -> None:
        """Run a lane's step; should it break, its rows are failed samples and the engine goes on."""
        try:
            self._activate(lane.adapter)
            done = action()
        except Exception as error:
            # Whatever breaks inside the model (out of memory, a driver) must not leave anyone waiting for ever.
            logger.exception("decoding failed")
            futures = list(self._futures.values())
            self._futures.clear()
            self._lanes.clear()
            self._fail(futures, f"decoding failed: {type(error).__name__}: {error}")
            return
        for row in done:
            future = self._futures.pop(id(row))
            if row.finish_reason is not None and future.set_running_or_notify_cancel():
                future.set_result(row)
        if not lane.live:
            self._lanes.pop(lane.adapter, None)

    @staticmethod
    def _fail(futures: "list[Future[Row]]", message: str) -> None:
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(InfrastructureError("server", message))

    @staticmethod
    def _run_call(call: _Call) -> None:
        if not call.future.set_running_or_notify_cancel():
            return
        try:
            call.action()
        except Exception as error:  # handed to whoever awaits the call
            call.future.set_exception(error)
        else:
            call.future.set_result(None)

    def _activate(self, adapter: str | None) -> None:
        if self._peft is None:
            return
        if adapter is None:
            self._peft.base_model.disable_adapter_layers()
        else:
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(adapter)

    def _load_adapter(self, name: str, path: str) -> None:
        import torch
        from peft import PeftModel

        if self._peft is None:
            self._peft = PeftModel.from_pretrained(self._model, path, adapter_name=name)
        else:
            self._peft.load_adapter(path, adapter_name=name)
        self._peft.eval()
        if torch.equal(self._probe(None), self._probe(name)):
            self._peft.delete_adapter(name)
            raise adapter_without_effect(path)

    def _unload_adapter(self, name: str) -> None:
        self._prefixes.forget(name)
        if list(self._peft.peft_config) == [name]:  # PEFT does not go on without any
            self._model, self._peft = self._peft.unload(), None
        else:
            self._peft.delete_adapter(name)

    def _load_weights(self, path: str) -> None:
        from transformers import AutoModelForCausalLM

        fresh = AutoModelForCausalLM.from_pretrained(path, dtype=self._model.dtype, use_safetensors=True)
        self._model.load_state_dict(fresh.state_dict())
        self._prefixes.forget(None)

    def _probe(self, adapter: str | None) -> "torch.Tensor":
        import torch

        assert self.tokenizer is not None
        self._activate(adapter)
        ids = torch.tensor([self.tokenizer(PROBE, add_special_tokens=False)["input_ids"]], device=self._device)
        return torch.log_softmax(self._model(input_ids=ids, use_cache=False).logits.float(), dim=-1)
