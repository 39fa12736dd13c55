"""The grouped LoRA products equal vLLM's own, adapter by adapter; tokens without an adapter stay as they are."""

import pytest
import torch

from copilot.policy import cpu_lora, vllm_plugin

lora_ops = pytest.importorskip("vllm.lora.ops.torch_ops.lora_ops", reason="vLLM is not installed")


@pytest.mark.parametrize("slots", [[1, 1, 1, 1, 1], [0, 2, 1, 0, 2]])
@pytest.mark.parametrize("stacked", [False, True])
def test_products_equal_vllms(slots: list[int], stacked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x, indices = torch.randn(5, 12, generator=generator), torch.tensor(slots)
    a, b = torch.randn(3, 4, 12, generator=generator), torch.randn(3, 6, 4, generator=generator)
    a, b = (a[:, None], b[:, None]) if stacked else (a, b)
    ours, theirs = torch.zeros(5, 4), torch.zeros(5, 4)
    cpu_lora.bgmv_shrink(x, a, ours, indices, 0.5)
    lora_ops.bgmv_shrink(x, a, theirs, indices, 0.5)
    torch.testing.assert_close(ours, theirs)
    for add in (True, False):
        start = torch.randn(5, 10, generator=generator)
        mine, vllms = start.clone(), start.clone()
        cpu_lora.bgmv_expand_slice(ours, b, mine, indices, 2, 6, add)
        lora_ops.bgmv_expand_slice(theirs, b, vllms, indices, 2, 6, add)
        torch.testing.assert_close(mine, vllms)
        mine, vllms = start.clone(), start.clone()
        cpu_lora.bgmv_expand(ours, b, mine, indices, add)
        lora_ops.bgmv_expand(theirs, b, vllms, indices, add)
        torch.testing.assert_close(mine, vllms)


def test_tokens_without_adapter_are_left_alone() -> None:
    weights, x = torch.ones(2, 3, 4), torch.ones(3, 4)
    outputs = cpu_lora.by_adapter(x, weights, torch.tensor([-1, 0, -1]))
    assert outputs.tolist() == [[0, 0, 0], [4, 4, 4], [0, 0, 0]]


def test_off_unless_switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cpu_lora.SWITCH, raising=False)
    before = lora_ops.bgmv_shrink
    vllm_plugin.register()
    assert lora_ops.bgmv_shrink is before
