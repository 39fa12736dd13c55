"""The in-process engine against plain forward passes and transformers' own generate, on the tiny model."""

import asyncio
import random
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from copilot.envs.task import Reference, Task
from copilot.errors import InfrastructureError, ModelError
from copilot.models.tiny import VOCABULARY, make_tiny
from copilot.policy.base import Generation, GenerationRequest, SamplingParams
from copilot.policy.config import TransformersConfig
from copilot.policy.transformers_engine import TransformersPolicy
from copilot.reward.answers import StringAnswer

TASK = Task(id="t/0", source="none", split="train", question="q", reference=Reference(answer=StringAnswer(value="x")))
T = TypeVar("T")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny, dtype="float32").eval()


def make_adapter(tiny: Path, folder: Path, *, scale: float) -> Path:
    """A LoRA folder whose ``lora_B`` are normal numbers times ``scale``."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype="float32")
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, scale) if scale else weight.data.zero_()
    adapted.save_pretrained(folder)
    return folder


def request(ids: list[int], *, seed: int = 0, adapter: str | None = None, **sampling: Any) -> GenerationRequest:
    return GenerationRequest(
        messages=[],
        prompt_ids=ids,
        task=TASK,
        turn=0,
        sampling=SamplingParams(**sampling),
        seed=seed,
        adapter=adapter,
    )


def prompts(count: int, *, shortest: int = 1, longest: int = 60, seed: int = 0) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, VOCABULARY) for _ in range(draw.randint(shortest, longest))] for _ in range(count)]


def forward_logprobs(model: Any, prompt: list[int], sampled: list[int], temperature: float = 1.0) -> torch.Tensor:
    """The log-probabilities of ``sampled`` after ``prompt``, by one plain forward pass."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prompt + sampled]), use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits[len(prompt) - 1 : -1].float() / temperature, dim=-1)
    return logprobs.gather(1, torch.tensor(sampled)[:, None])[:, 0]


async def with_engine(tiny: Path, body: Any, **config: Any) -> Any:
    policy = TransformersPolicy(TransformersConfig(**config), model=str(tiny))
    await policy.start()
    try:
        return await body(policy)
    finally:
        await policy.close()


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def test_logprobs_of_ragged_concurrent_rows_are_those_of_a_forward_pass(tiny: Path, model: Any) -> None:
    asked = [
        request(ids, seed=i, temperature=[0.6, 1.0, 1.3][i % 3], max_tokens=5 + 7 * (i % 6))
        for i, ids in enumerate(prompts(24))
    ]

    async def body(policy: TransformersPolicy) -> list[Generation]:
        async def late(r: GenerationRequest, i: int) -> Generation:
            await asyncio.sleep(0.01 * (i % 7))  # joins a batch that is already running
            return await policy.generate(r)

        return await asyncio.gather(*[late(r, i) for i, r in enumerate(asked)])

    for asking, answer in zip(asked, run(with_engine(tiny, body, max_batch=7)), strict=True):
        assert asking.prompt_ids is not None
        assert answer.token_ids is not None
        expected = forward_logprobs(model, asking.prompt_ids, answer.token_ids, asking.sampling.temperature)
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-4, rtol=0)
        assert answer.completion_tokens == len(answer.token_ids) <= asking.sampling.max_tokens
        assert answer.prompt_tokens == len(asking.prompt_ids)


def test_a_second_turn_from_the_prefix_cache_has_the_same_logprobs(tiny: Path, model: Any) -> None:
    first = prompts(1, shortest=50)[0]

    async def body(policy: TransformersPolicy) -> tuple[list[int], list[Generation]]:
        one = await policy.generate(request(first, temperature=1.0, max_tokens=20))
        assert one.token_ids is not None
        second = first + one.token_ids + [7, 8, 9]
        turns = [policy.generate(request(second, seed=s, temperature=1.0, max_tokens=20)) for s in range(3)]
        return second, list(await asyncio.gather(*turns))

    second, answers = run(with_engine(tiny, body))
    cold = run(with_engine(tiny, lambda p: p.generate(request(second, temperature=1.0, max_tokens=20))))
    assert answers[0].token_ids == cold.token_ids
    for answer in answers:
        assert answer.token_ids is not None
        expected = forward_logprobs(model, second, answer.token_ids)
        torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-4, rtol=0)


def test_greedy_equals_generate(tiny: Path, model: Any) -> None:
    asked = prompts(6, seed=3)

    async def body(policy: TransformersPolicy) -> list[Generation]:
        return await asyncio.gather(*[policy.generate(request(ids, max_tokens=40)) for ids in asked])

    for ids, answer in zip(asked, run(with_engine(tiny, body)), strict=True):
        with torch.inference_mode():
            expected = model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False)[0, len(ids) :]
        assert answer.token_ids == expected.tolist()


def test_the_stop_token_is_the_last_sampled_one_and_not_in_the_text(tiny: Path) -> None:
    async def body(policy: TransformersPolicy) -> None:
        assert policy.tokenizer is not None
        asked = [request(ids, seed=i, temperature=3.0, max_tokens=300) for i, ids in enumerate(prompts(30))]
        answers = await asyncio.gather(*[policy.generate(r) for r in asked])
        stopped = [a for a in answers if a.finish_reason == "stop"]
        assert stopped
        for answer in stopped:
            assert answer.token_ids is not None
            assert answer.token_ids[-1] == policy.tokenizer.eos_token_id
            assert policy.tokenizer.eos_token_id not in answer.token_ids[:-1]
            assert "<|im_end|>" not in answer.text
        for answer in answers:
            assert answer.finish_reason == "stop" or len(answer.token_ids or ()) == 300

    run(with_engine(tiny, body))


def test_a_seed_repeats_its_draw_and_another_differs(tiny: Path) -> None:
    ids = prompts(1)[0]

    async def body(policy: TransformersPolicy) -> list[list[int] | None]:
        return [
            (await policy.generate(request(ids, seed=s, temperature=1.0, max_tokens=12))).token_ids for s in (1, 1, 2)
        ]

    one, again, other = run(with_engine(tiny, body))
    assert one == again != other


def test_an_adapter_changes_logprobs_and_leaves_the_base_alone(tiny: Path, model: Any, tmp_path: Path) -> None:
    adapter = make_adapter(tiny, tmp_path / "adapter", scale=0.3)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny, dtype="float32"), LoraConfig(r=4, target_modules="all-linear")
    )
    adapted.load_adapter(adapter, adapter_name="trained")
    adapted.set_adapter("trained")
    adapted.eval()
    asked = prompts(4, shortest=20)

    async def body(policy: TransformersPolicy) -> list[tuple[Generation, Generation]]:
        await policy.load_adapter("sft-v1", str(adapter))
        answers = await asyncio.gather(
            *[
                policy.generate(request(ids, adapter=name, temperature=1.0, max_tokens=10))
                for ids in asked
                for name in (None, "sft-v1")
            ]
        )
        await policy.unload_adapter("sft-v1")
        with pytest.raises(InfrastructureError, match="sft-v1"):
            await policy.generate(request(asked[0], adapter="sft-v1"))
        return list(zip(answers[::2], answers[1::2], strict=True))

    for ids, (base, trained) in zip(asked, run(with_engine(tiny, body)), strict=True):
        for answer, judge in ((base, model), (trained, adapted)):
            assert answer.token_ids is not None
            expected = forward_logprobs(judge, ids, answer.token_ids)
            torch.testing.assert_close(torch.tensor(answer.logprobs), expected, atol=1e-4, rtol=0)
        assert trained.policy_version.endswith("@sft-v1")
        assert trained.token_ids != base.token_ids


def test_an_adapter_without_effect_is_refused(tiny: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny, tmp_path / "adapter", scale=0.0)
    with pytest.raises(ModelError, match="without effect"):
        run(with_engine(tiny, lambda policy: policy.load_adapter("zero", str(adapter))))


def test_a_pickled_adapter_is_refused(tiny: Path, tmp_path: Path) -> None:
    adapter = make_adapter(tiny, tmp_path / "adapter", scale=0.1)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="no adapter_model"):
        run(with_engine(tiny, lambda policy: policy.load_adapter("pickled", str(adapter))))


def test_the_context_ends_a_turn(tiny: Path) -> None:
    async def body(policy: TransformersPolicy) -> Generation:
        with pytest.raises(InfrastructureError, match="context"):
            await policy.generate(request([5] * 64, max_tokens=4))
        return await policy.generate(request([5] * 60, max_tokens=40))

    answer = run(with_engine(tiny, body, max_model_len=64))
    assert answer.finish_reason == "stop" or answer.completion_tokens == 4


def test_a_cancelled_request_frees_its_row(tiny: Path) -> None:
    async def body(policy: TransformersPolicy) -> Generation:
        endless = asyncio.create_task(policy.generate(request([5, 6], temperature=0.0, max_tokens=4000)))
        await asyncio.sleep(0.2)
        endless.cancel()
        return await policy.generate(request([5, 6], seed=1, temperature=1.0, max_tokens=3))

    assert run(with_engine(tiny, body, max_batch=1)).completion_tokens <= 3


def test_a_missing_model_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tokenizer"):
        run(with_engine(tmp_path, lambda policy: policy.close()))
