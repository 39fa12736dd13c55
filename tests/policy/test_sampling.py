"""The sampling distribution and its draws, in closed form and by property."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from copilot.policy.sampling import draw_tokens, sampling_logprobs

LOGITS = st.lists(st.integers(-160, 160).map(lambda n: n / 8), min_size=2, max_size=12)


def one(value: float) -> torch.Tensor:
    return torch.tensor([value])


def test_temperature_divides_the_logits() -> None:
    got = sampling_logprobs(torch.tensor([[0.0, math.log(3.0)]]), one(0.5), one(1.0)).exp()
    torch.testing.assert_close(got, torch.tensor([[0.1, 0.9]]))


def test_a_greedy_row_keeps_temperature_one_and_its_nucleus_whole() -> None:
    got = sampling_logprobs(torch.tensor([[0.0, math.log(3.0)]]), one(0.0), one(0.1)).exp()
    torch.testing.assert_close(got, torch.tensor([[0.25, 0.75]]))


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.1, 0.5, 0.4]]).log()
    got = sampling_logprobs(logits, torch.ones(3), torch.tensor([0.45, 0.6, 1.0])).exp()
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.0, 5 / 9, 4 / 9], [0.1, 0.5, 0.4]])
    torch.testing.assert_close(got, expected)


@given(logits=LOGITS, temperature=st.sampled_from([0.0, 0.3, 1.0, 2.0]), top_p=st.sampled_from([0.05, 0.7, 1.0]))
@settings(deadline=None)
def test_every_row_is_a_distribution_with_the_same_order(logits: list[float], temperature: float, top_p: float) -> None:
    got = sampling_logprobs(torch.tensor([logits]), one(temperature), one(top_p))[0]
    assert abs(float(got.exp().sum()) - 1) < 1e-5
    best = max(range(len(logits)), key=lambda i: logits[i])
    assert float(got[best]) == float(got.max())


@given(logits=LOGITS, uniform=st.floats(0, 1, exclude_max=True), top_p=st.sampled_from([0.3, 1.0]))
@settings(deadline=None)
def test_a_draw_is_the_inverse_distribution_function(logits: list[float], uniform: float, top_p: float) -> None:
    logprobs = sampling_logprobs(torch.tensor([logits]), one(1.0), one(top_p))
    token = int(draw_tokens(logprobs, torch.tensor([uniform], dtype=torch.float64), torch.tensor([False])))
    mass = logprobs[0].double().exp()
    below, upto = float(mass[:token].sum()), float(mass[: token + 1].sum())
    assert float(mass[token]) > 0  # never a token outside the nucleus
    assert below - 1e-6 <= uniform * float(mass.sum()) <= upto + 1e-6


def test_evenly_spread_uniforms_give_each_token_its_share() -> None:
    shares = torch.tensor([0.125, 0.5, 0.375])
    count = 800
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = draw_tokens(shares.log().expand(count, 3), uniforms, torch.zeros(count, dtype=torch.bool))
    assert tokens.bincount().tolist() == [100, 400, 300]


def test_greedy_rows_take_the_best_beside_sampled_ones() -> None:
    logprobs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    tokens = draw_tokens(logprobs, torch.tensor([0.9, 0.9], dtype=torch.float64), torch.tensor([True, False]))
    assert tokens.tolist() == [0, 1]
