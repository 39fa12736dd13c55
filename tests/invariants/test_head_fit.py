"""The critic's head in closed form: against a solver of its own, in parts, over a checkpoint, and without anything."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from copilot.online.head_fit import PRIOR_TASKS, HeadFit
from copilot.online.ranks import Ranks

H = 6


def make_head(seed: int | None = None) -> nn.Linear:
    head = nn.Linear(H, 1)
    torch.manual_seed(seed or 0)
    for parameter in head.parameters():
        nn.init.normal_(parameter) if seed is not None else nn.init.zeros_(parameter)
    return head


def make_tokens(seed: int, count: int = 200) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    states_NH = torch.randn(count, H, generator=generator) * 3 + 1
    weight_H = torch.linspace(-1, 1, H)
    return states_NH, states_NH @ weight_H + 2 + 0.1 * torch.randn(count, generator=generator)


def values(head: nn.Linear, states_NH: Tensor) -> Tensor:
    with torch.no_grad():
        return head(states_NH).squeeze(-1)


@pytest.mark.parametrize("seed", [None, 3])
def test_it_is_ridge_regression_towards_the_head_as_it_came(seed: int | None) -> None:
    states_NH, returns_N = make_tokens(1)
    head = make_head(seed)
    prior_H = head.weight.detach()[0].double()
    HeadFit(head, torch.device("cpu")).learn([states_NH], [returns_N], tasks=8, ranks=Ranks())

    centred_NH = (states_NH - states_NH.mean(0)).double()
    penalty = PRIOR_TASKS / 8 * centred_NH.pow(2).mean()
    rows_MH = torch.cat([centred_NH / len(centred_NH) ** 0.5, penalty.sqrt() * torch.eye(H).double()])
    wanted_N = (returns_N - returns_N.mean()).double()
    wanted_M = torch.cat([wanted_N / len(wanted_N) ** 0.5, penalty.sqrt() * prior_H])
    expected_H = torch.linalg.lstsq(rows_MH, wanted_M[:, None]).solution[:, 0]
    torch.testing.assert_close(head.weight.detach()[0].double(), expected_H, rtol=1e-4, atol=1e-5)
    assert float(values(head, states_NH).mean()) == pytest.approx(float(returns_N.mean()), abs=1e-4)


def test_many_tasks_outweigh_the_prior() -> None:
    states_NH, returns_N = make_tokens(1)
    new_NH, unseen_N = make_tokens(2)
    left = []
    for tasks in (1, 10, 1000):
        head = make_head()
        HeadFit(head, torch.device("cpu")).learn([states_NH], [returns_N], tasks=tasks, ranks=Ranks())
        left.append(float((unseen_N - values(head, new_NH)).var() / unseen_N.var()))
    assert left[0] > left[1] > left[2]
    assert left[2] < 0.01


def test_steps_add_up_also_over_a_checkpoint(tmp_path: Path) -> None:
    (one_NH, one_N), (two_NH, two_N) = make_tokens(1), make_tokens(2, 50)
    whole, parts, resumed = make_head(), make_head(), make_head()
    HeadFit(whole, torch.device("cpu")).learn([one_NH, two_NH], [one_N, two_N], tasks=7, ranks=Ranks())
    fit = HeadFit(parts, torch.device("cpu"))
    fit.learn([one_NH], [one_N], tasks=4, ranks=Ranks())
    fit.save(tmp_path)
    again = HeadFit(resumed, torch.device("cpu"))
    again.load(tmp_path)
    for each in (fit, again):
        each.learn([two_NH], [two_N], tasks=3, ranks=Ranks())
        assert each.tasks == 7
    for other in (parts, resumed):
        torch.testing.assert_close(other.weight, whole.weight)
        torch.testing.assert_close(other.bias, whole.bias)


def test_states_that_never_differ_leave_the_weights_and_teach_the_mean() -> None:
    head = make_head(3)
    before = head.weight.detach().clone()
    HeadFit(head, torch.device("cpu")).learn([torch.ones(4, H)], [torch.tensor([0.0, 1, 1, 1])], tasks=2, ranks=Ranks())
    torch.testing.assert_close(head.weight.detach(), before)
    assert values(head, torch.ones(4, H)).tolist() == pytest.approx([0.75] * 4, abs=1e-5)


def test_a_step_without_tokens_changes_nothing() -> None:
    head = make_head(3)
    before = head.weight.detach().clone()
    HeadFit(head, torch.device("cpu")).learn([], [], tasks=0, ranks=Ranks())
    assert torch.equal(head.weight, before)
