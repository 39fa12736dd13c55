"""The served engine with the tiny model on the installed vLLM: ids, logprobs, adapters, failures, no orphans."""

import asyncio
import copy
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from copilot.envs.task import Reference, Task
from copilot.errors import InfrastructureError, ModelError, ServerError
from copilot.models.tiny import VOCABULARY, make_tiny
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_engine import VllmPolicy
from copilot.policy.vllm_server import VllmServer
from copilot.reward.answers import StringAnswer

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed"),
]
TASK = Task(id="t/0", source="none", split="train", question="q", reference=Reference(answer=StringAnswer(value="x")))
CONFIG = VllmConfig(max_num_seqs=32, max_lora_rank=8, max_model_len=512, dtype="float32")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype="float32").eval()


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    """One server for the module; it must be gone with all its processes afterwards."""
    config = CONFIG.model_copy(update={"full_weights": True, "weight_sync": "gloo"})
    started = VllmServer(config, model=str(tiny), device=None, log_folder=tmp_path_factory.mktemp("logs"))
    before = set(descendants(os.getpid()))
    asyncio.run(started.start())
    below = set(descendants(os.getpid())) - before
    assert len(below) >= 2
    yield started
    asyncio.run(started.stop())
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]


@asynccontextmanager
async def serving(server: VllmServer, tiny: Path, **config: Any) -> AsyncIterator[VllmPolicy]:
    policy = VllmPolicy(
        VllmConfig(url=server.url, max_num_seqs=8, **config), model=str(tiny), device=None, log_folder=tiny
    )
    await policy.start()
    try:
        yield policy
    finally:
        await policy.close()


def descendants(pid: int) -> list[int]:
    """The processes below ``pid``; threads and processes may end while they are looked at."""
    children: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                children += map(int, (task / "children").read_text().split())
    return children + [grandchild for child in children for grandchild in descendants(child)]


def request(ids: list[int], *, adapter: str | None = None, **sampling: Any) -> GenerationRequest:
    params = SamplingParams(**sampling)
    return GenerationRequest(messages=[], prompt_ids=ids, task=TASK, turn=0, sampling=params, seed=1, adapter=adapter)


def prompts(count: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(2, 200, (count,), generator=generator).tolist()
    return [torch.randint(3, VOCABULARY, (n,), generator=generator).tolist() for n in lengths]


def assert_logprobs(model: Any, prompt: list[int], answer: Generation, temperature: float) -> None:
    assert answer.token_ids is not None
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + answer.token_ids]), use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits[len(prompt) - 1 : -1].float() / temperature, dim=-1)
    expected = logprobs.gather(1, torch.tensor(answer.token_ids)[:, None])[:, 0]
    torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=2e-3, rtol=0)


def make_adapter(tiny: Path, folder: Path, *, seed: int, scale: float = 0.3) -> Path:
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype="float32")
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, scale) if scale else weight.data.zero_()
    adapted.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("temperature", [1.0, 0.6, 0.0])
def test_logprobs_are_those_of_the_sampling_distribution(
    server: VllmServer, tiny: Path, model: Any, temperature: float
) -> None:
    asked = prompts(12)

    async def body() -> list[Generation]:
        async with serving(server, tiny) as policy:
            requests = [request(ids, temperature=temperature, max_tokens=30) for ids in asked]
            return await asyncio.gather(*[policy.generate(r) for r in requests])

    for ids, answer in zip(asked, asyncio.run(body()), strict=True):
        assert_logprobs(model, ids, answer, SamplingParams(temperature=temperature).logprob_temperature)
        assert answer.prompt_tokens == len(ids)
        assert answer.completion_tokens == len(answer.token_ids or [])


def test_the_stop_token_is_the_last_sampled_one(server: VllmServer, tiny: Path) -> None:
    async def body() -> None:
        async with serving(server, tiny) as policy:
            assert policy.tokenizer is not None
            end = policy.tokenizer.eos_token_id
            requests = [request(ids, temperature=2.0, max_tokens=200) for ids in prompts(32)]
            answers = await asyncio.gather(*[policy.generate(r) for r in requests])
            stopped = [answer.token_ids or [] for answer in answers if answer.finish_reason == "stop"]
            assert stopped
            assert all(ids[-1] == end and end not in ids[:-1] for ids in stopped)
            assert all("<|im_end|>" not in answer.text for answer in answers)

    asyncio.run(body())


def test_adapters_come_and_go_while_the_base_serves(server: VllmServer, tiny: Path, model: Any, tmp_path: Path) -> None:
    folders = [make_adapter(tiny, tmp_path / f"adapter{seed}", seed=seed) for seed in (1, 2)]
    judges = []
    for folder in folders:
        adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny, dtype="float32"), LoraConfig())
        adapted.load_adapter(folder, adapter_name="trained")
        adapted.set_adapter("trained")
        judges.append(adapted.eval())
    ids = prompts(3)[2]

    async def body() -> None:
        async with serving(server, tiny) as policy:
            for folder, judge in zip(folders, judges, strict=True):
                await policy.load_adapter("policy-v1", str(folder))  # the second time, it replaces the first
                answer = await policy.generate(request(ids, adapter="policy-v1", temperature=1.0, max_tokens=20))
                assert_logprobs(judge, ids, answer, 1.0)
                assert answer.policy_version.endswith("@policy-v1")
                assert_logprobs(model, ids, await policy.generate(request(ids, temperature=1.0, max_tokens=20)), 1.0)
            await policy.unload_adapter("policy-v1")
            with pytest.raises(InfrastructureError, match="policy-v1"):
                await policy.generate(request(ids, adapter="policy-v1"))

    asyncio.run(body())


def test_an_adapter_without_effect_is_refused(server: VllmServer, tiny: Path, tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(server, tiny) as policy:
            with pytest.raises(ModelError, match="without effect"):
                await policy.load_adapter("zero", str(make_adapter(tiny, tmp_path / "zero", seed=1, scale=0.0)))

    asyncio.run(body())


def test_an_adapter_the_server_refuses_is_one_clear_error(server: VllmServer, tiny: Path, tmp_path: Path) -> None:
    folder = make_adapter(tiny, tmp_path / "wide", seed=1)
    config = folder / "adapter_config.json"
    config.write_text(config.read_text().replace('"r": 4', '"r": 400'))

    async def body() -> None:
        async with serving(server, tiny) as policy:
            with pytest.raises(ServerError, match="load_lora_adapter"):
                await policy.load_adapter("wide", str(folder))

    asyncio.run(body())


@pytest.mark.parametrize("sync", ["files", "gloo"])
def test_full_weights_replace_those_served(
    sync: Literal["files", "gloo"], server: VllmServer, tiny: Path, model: Any, tmp_path: Path
) -> None:
    """Real weights into the real server: it samples from the new ones, and from the old ones again afterwards."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.05)
    other.save_pretrained(tmp_path / "other")
    prompt = list(range(20, 60))

    async def run() -> list[Generation]:
        async with serving(server, tiny, full_weights=True, weight_sync=sync) as policy:
            answers = []
            for folder, weights in ((tiny, model), (tmp_path / "other", other), (tiny, model)):
                if sync == "files":
                    await policy.load_weights(str(folder))
                else:
                    await policy.take_weights(dict(weights.named_parameters()), torch.Tensor.detach)
                answers.append(await policy.generate(request(prompt, max_tokens=8, temperature=1.0)))
            with pytest.raises(ModelError, match="no safetensors"):
                await policy.load_weights(str(tmp_path / "none"))
            return answers

    for answer, weights in zip(asyncio.run(run()), (model, other, model), strict=True):
        ids = torch.tensor([[*prompt, *(answer.token_ids or [])]])
        with torch.no_grad():
            logprobs = weights(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        own = logprobs.gather(1, ids[0, len(prompt) :, None])[:, 0]
        assert torch.allclose(own, torch.tensor(answer.logprobs), atol=1e-4)


def test_a_prompt_that_fills_the_context_is_a_failed_sample(server: VllmServer, tiny: Path) -> None:
    async def body() -> None:
        async with serving(server, tiny) as policy:
            assert policy.context_length == 512
            with pytest.raises(InfrastructureError, match="context"):
                await policy.generate(request([5] * 512))
            answer = await policy.generate(request([5] * 510, max_tokens=50))
            assert answer.completion_tokens <= 2

    asyncio.run(body())


def test_an_unreachable_server_is_one_clear_error(tiny: Path) -> None:
    policy = VllmPolicy(VllmConfig(url="http://127.0.0.1:9"), model=str(tiny), device=None, log_folder=tiny)
    with pytest.raises(ServerError, match="no server answers") as caught:
        asyncio.run(policy.start())
    assert "policy.url" in (caught.value.remedy or "")


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    failing = VllmServer(CONFIG, model=str(tmp_path), device=None, log_folder=tmp_path)
    with pytest.raises(ServerError, match="ended with status") as caught:
        asyncio.run(failing.start())
    assert "Error" in caught.value.what
    assert caught.value.where == failing.log


def test_a_killed_run_leaves_no_server_behind(tiny: Path, tmp_path: Path) -> None:
    code = f"""
import asyncio
from pathlib import Path
from copilot.policy.config import VllmConfig
from copilot.policy.vllm_server import VllmServer
asyncio.run(VllmServer(VllmConfig(), model={str(tiny)!r}, device=None, log_folder=Path({str(tmp_path)!r})).start())
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    below: list[int] = []
    while process.poll() is None and len(below) < 2:  # guard and server
        time.sleep(0.1)
        below = descendants(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(400):
        if not [pid for pid in below if Path(f"/proc/{pid}").exists()]:
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {below}")
