"""How a vLLM server is started and what is said when it fails; the served parts are in test_vllm_engine.py."""

from pathlib import Path

import pytest

from copilot.policy.config import VllmConfig
from copilot.policy.vllm_server import VllmServer


def server(folder: Path, *, device: int | None = None, **config: object) -> VllmServer:
    return VllmServer(VllmConfig.model_validate(config), model=str(folder), device=device, log_folder=folder)


def test_the_environment_is_free_of_the_launcher_and_of_keys(tmp_path: Path) -> None:
    launched = {
        "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "ROLE_RANK": "1", "ROLE_WORLD_SIZE": "2", "ROLE_NAME": "default", "MASTER_ADDR": "h", "MASTER_PORT": "1",
        "TORCHELASTIC_RUN_ID": "x", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "FSDP_VERSION": "2",
        "OPENAI_API_KEY": "k", "WANDB_API_KEY": "k", "AWS_SECRET": "s",
    }  # fmt: skip
    kept = {"PATH": "/bin", "HOME": "/root", "HF_TOKEN": "t", "LD_LIBRARY_PATH": "/lib", "RANKING": "mine"}
    clean = server(tmp_path, kv_cache_gb=1.5).environment(launched | kept)
    assert not launched.keys() & clean.keys()
    assert kept.items() <= clean.items()
    assert clean["HF_HUB_OFFLINE"] == "1"
    assert clean["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert clean["VLLM_CPU_KVCACHE_SPACE"] == "2"


def test_threads_chosen_by_the_user_stay(tmp_path: Path) -> None:
    assert server(tmp_path).environment({"OMP_NUM_THREADS": "4"})["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("device", "parallel", "inherited", "expected"),
    [(None, 1, {}, None), (2, 1, {}, "2"), (1, 2, {}, "2,3"), (1, 1, {"CUDA_VISIBLE_DEVICES": "5,7"}, "7")],
)
def test_each_rank_has_its_own_gpus(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: int | None,
    parallel: int,
    inherited: dict[str, str],
    expected: str | None,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    clean = server(tmp_path, device=device, tensor_parallel_size=parallel).environment(inherited)
    assert clean.get("CUDA_VISIBLE_DEVICES") == expected


def test_ranks_on_a_cpu_share_its_cores_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    environments = [server(tmp_path).environment({"LOCAL_WORLD_SIZE": "2", "LOCAL_RANK": rank}) for rank in ("0", "1")]
    assert [e["VLLM_CPU_OMP_THREADS_BIND"] for e in environments] == ["0,2", "1,3"]
    assert "VLLM_CPU_OMP_THREADS_BIND" not in server(tmp_path).environment({})


@pytest.mark.parametrize(
    ("gpus", "wanted", "eager"), [(0, None, True), (1, None, False), (0, False, False), (1, True, True)]
)
def test_compilation_is_skipped_on_a_cpu_unless_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: int, wanted: bool | None, eager: bool
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert ("--enforce-eager" in server(tmp_path, enforce_eager=wanted).command(1)) is eager


@pytest.mark.parametrize(("asked", "given"), [(1, "1"), (4, "8"), (16, "16"), (48, "64"), (300, "320")])
def test_the_adapter_rank_is_one_vllm_knows(tmp_path: Path, asked: int, given: str) -> None:
    command = server(tmp_path, max_lora_rank=asked).command(1)
    assert command[command.index("--max-lora-rank") + 1] == given
    assert "--enable-lora" in command


def test_without_adapters_nothing_is_said_of_them(tmp_path: Path) -> None:
    assert not [part for part in server(tmp_path, max_lora_rank=0).command(1) if "lora" in part]


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("ValueError: User-specified max_model_len (9) is greater than the derived max_model_len", "max_model_len"),
        ("torch.OutOfMemoryError: CUDA out of memory.", "gpu_memory_utilization"),
        ("ValueError: To serve at least one request, 2.1 GiB KV cache is needed, which is larger than", "kv_cache_gb"),
        ("OSError: [Errno 98] Address already in use", "again"),
        ("something never seen before", "read the log"),
    ],
)
def test_a_failure_shows_the_logs_tail_and_a_remedy(tmp_path: Path, line: str, remedy: str) -> None:
    failed = server(tmp_path)
    failed.log.write_text("INFO VLLM_CPU_KVCACHE_SPACE is 1\n" + "INFO loading\n" * 50 + line + "\n")
    error = failed.failure("vLLM ended with status 1")
    assert line in error.what
    assert error.what.count("\n") < 40
    assert remedy in (error.remedy or "")
    assert error.where == failed.log


@pytest.mark.parametrize(("bfloat16", "expected"), [(False, "float32"), (True, "auto")])
def test_a_cpu_without_bfloat16_serves_floats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bfloat16: bool, expected: str
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("copilot.policy.vllm_server._cpu_has_bfloat16", lambda: bfloat16)
    command = server(tmp_path).command(1)
    assert command[command.index("--dtype") + 1] == expected
    chosen = server(tmp_path, dtype="bfloat16").command(1)
    assert chosen[chosen.index("--dtype") + 1] == "bfloat16"


def test_a_lone_server_on_a_small_cpu_takes_all_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1})
    clean = server(tmp_path).environment({})
    assert (clean["VLLM_CPU_NUM_OF_RESERVED_CPU"], clean["MED_COPILOT_CPU_LORA"]) == ("0", "1")
