"""The ``policy:`` section of a recipe; nothing heavy is imported here."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from copilot.config import StrictModel


class VllmConfig(StrictModel):
    """A policy served by vLLM, started by the stage or reached by URL."""

    type: Literal["vllm"] = "vllm"
    model: str = ""
    """Hub id or local folder; empty: the recipe's model."""
    url: str = ""
    """A running server (``http://host:8000``); empty: start one."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Weights' type."""
    max_model_len: int = 4096
    """Context in tokens."""
    max_num_seqs: int = 32
    """Sequences decoded together."""
    enforce_eager: bool | None = None
    """Skip compilation: starts faster, decodes slower. Empty: skip it on a CPU only."""
    gpu_memory_utilization: float = 0.85
    """Share of device memory for weights and cache (GPU)."""
    kv_cache_gb: float = 1.0
    """KV cache in GiB (CPU); vLLM takes whole ones, so it is rounded up."""
    tensor_parallel_size: int = 1
    """GPUs per server."""
    start_timeout: float = 600.0
    """Seconds to wait for the server."""
    max_lora_rank: int = Field(default=64, ge=0, le=512)
    """Largest adapter rank served; 0: no adapters."""
    max_loras: int = Field(default=2, ge=1)
    """Adapters decoded together in one batch."""
    sleep_mode: bool = False
    """Give the device's memory back while a trainer on the same GPU trains (CUDA only; a server of the stage's own)."""
    full_weights: bool = False
    """Take full weights while serving; the online stages set it with ``training.method: full``."""
    weight_sync: Literal["files", "gloo", "nccl"] = "files"
    """How full weights come: files in the run's folder; or a broadcast, ``gloo`` (through host memory) or ``nccl``
    (from GPU to GPU, to a server of your own on other GPUs)."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.weight_sync == "nccl" and not self.url:
            raise ValueError(
                "policy.weight_sync: nccl cannot have a GPU twice, and a server started here is on the trainer's; "
                "give policy.url, or set weight_sync: gloo"
            )
        return self


class TransformersConfig(StrictModel):
    """A policy inside this process."""

    type: Literal["transformers"] = "transformers"
    model: str = ""
    """Hub id or local folder; empty: the recipe's model."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Weights' type."""
    max_batch: int = 32
    """Sequences decoded together."""
    max_model_len: int = 4096
    """Context in tokens."""
    prefix_cache_gb: float = 1.0
    """Keys and values of past turns kept for the next ones, in GiB."""


class OpenAIConfig(StrictModel):
    """A policy behind an OpenAI-compatible API: teachers and leaderboard models."""

    type: Literal["openai"] = "openai"
    model: str
    """The API's model name."""
    url: str = "https://api.openai.com/v1"
    """Base URL."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the key; the key itself never enters a file."""
    third_party: bool = True
    """Whether the data leaves the house; such an engine is refused for credentialed sources."""
    timeout: float = 120.0
    """Seconds per request."""
    retries: int = 4
    """Attempts after the first on 429, 5xx and connection errors."""
    max_concurrency: int = 16
    """Requests in flight."""


class ReferenceConfig(StrictModel):
    """The teacher that plays a task's own reference program through the real environment."""

    type: Literal["reference"] = "reference"
    tokenizer: str = ""
    """Whose token ids to record: hub id or folder; empty: the recipe's model."""


PolicyConfig = Annotated[VllmConfig | TransformersConfig | OpenAIConfig | ReferenceConfig, Field(discriminator="type")]
"""Any engine."""
