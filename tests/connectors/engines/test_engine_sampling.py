"""Tokens are drawn from the distribution whose log-probability is reported."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.engines.base import SamplingParameters
from headrace.connectors.engines.transformers.sampling import (
    adjusted,
    restrict,
    sample,
    uniform,
)

LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, -torch.inf])


def draw(
    logits: torch.Tensor, parameters: list[SamplingParameters], uniforms: list[float]
) -> tuple[list[int], list[float]]:
    """Tokens and their log-probabilities."""
    made = sample(logits, parameters, uniforms)
    return made.tokens, made.logprobs


def frequencies(parameters: SamplingParameters, draws: int = 4000) -> torch.Tensor:
    made = sample(
        LOGITS.repeat(draws, 1), [parameters] * draws, [(i + 0.5) / draws for i in range(draws)]
    )
    return torch.bincount(torch.tensor(made.tokens), minlength=len(LOGITS)) / draws


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_the_softmax_says(temperature: float) -> None:
    expected = (LOGITS / temperature).softmax(-1)
    drawn = frequencies(SamplingParameters(temperature=temperature))
    torch.testing.assert_close(drawn, expected, atol=1e-3, rtol=0)


def test_top_k_draws_from_the_k_most_probable() -> None:
    expected = torch.cat([LOGITS[:2].softmax(-1), torch.zeros(3)])
    torch.testing.assert_close(
        frequencies(SamplingParameters(top_k=2)), expected, atol=1e-3, rtol=0
    )


def test_top_p_keeps_the_token_that_crosses_the_bound() -> None:
    # Probabilities are .644 .237 .087 .032: 0.7 needs the second token.
    kept = restrict(LOGITS.unsqueeze(0), [SamplingParameters(top_p=0.7)]).isfinite()
    assert kept.tolist() == [[True, True, False, False, False]]


def test_top_p_counts_after_top_k() -> None:
    # Among the first two the first alone has .731.
    kept = restrict(LOGITS.unsqueeze(0), [SamplingParameters(top_k=2, top_p=0.7)]).isfinite()
    assert kept.tolist() == [[True, False, False, False, False]]


def test_min_p_leaves_out_what_is_too_improbable_beside_the_most_probable() -> None:
    # Probabilities are .644 .237 .087 .032: a fifth of the first is .129.
    kept = restrict(LOGITS.unsqueeze(0), [SamplingParameters(min_p=0.2)]).isfinite()
    assert kept.tolist() == [[True, True, False, False, False]]
    both = [SamplingParameters(min_p=0.2, top_k=1), SamplingParameters(min_p=1.0)]
    for row in restrict(LOGITS.repeat(2, 1), both).isfinite().tolist():
        assert row == [True, False, False, False, False]


def test_penalties_count_the_tokens_of_the_completion_and_bias_is_added() -> None:
    rows = [
        SamplingParameters(frequency_penalty=0.5),
        SamplingParameters(presence_penalty=0.25),
        SamplingParameters(frequency_penalty=-1, presence_penalty=1),
        SamplingParameters(logit_bias=((1, 3.0), (3, -100.0))),
        SamplingParameters(),
        SamplingParameters(presence_penalty=1),
    ]
    sampled: list[list[int]] = [[0, 0, 2], [0, 0, 2], [0, 0, 2], [1], [0, 1, 2], []]
    changes = adjusted(torch.zeros(6, 4), rows, sampled)
    assert changes.tolist() == [
        [-1.0, 0.0, -0.5, 0.0],
        [-0.25, 0.0, -0.25, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.0, 3.0, 0.0, -100.0],
        [0.0] * 4,
        [0.0] * 4,
    ]
    plain = torch.zeros(2, 4)
    assert adjusted(plain, [SamplingParameters(top_k=1)] * 2, [[1], [2]]) is plain


@pytest.mark.parametrize(
    ("parameters", "is_plain"),
    [
        ({}, True),
        ({"temperature": 0.3, "seed": 4, "stop": ("a",)}, True),
        ({"top_p": 0.9}, False),
        ({"top_k": 5}, False),
        ({"min_p": 0.1}, False),
        ({"frequency_penalty": -0.1}, False),
        ({"presence_penalty": 0.1}, False),
        ({"logit_bias": ((3, 1.0),)}, False),
    ],
)
def test_what_changes_the_distribution_is_not_plain(
    parameters: dict[str, Any], is_plain: bool
) -> None:
    assert SamplingParameters(**parameters).is_plain == is_plain


def test_logprobs_are_of_the_restricted_distribution() -> None:
    tokens, logprobs = draw(LOGITS.unsqueeze(0), [SamplingParameters(top_k=2)], [0.9])
    assert tokens == [1]
    assert logprobs[0] == pytest.approx(float(LOGITS[:2].log_softmax(-1)[1]), abs=1e-6)


def test_temperature_zero_takes_the_most_probable_token() -> None:
    tokens, logprobs = draw(LOGITS.unsqueeze(0), [SamplingParameters(temperature=0)], [0.999])
    assert tokens == [0]
    assert logprobs[0] == pytest.approx(float(LOGITS.log_softmax(-1)[0]), abs=1e-6)


def test_rows_of_a_batch_keep_their_own_parameters() -> None:
    parameters = [
        SamplingParameters(temperature=0),
        SamplingParameters(temperature=0.3),
        SamplingParameters(temperature=3),
        SamplingParameters(top_k=1),
        SamplingParameters(top_p=0.2),
    ]
    uniforms = [0.9, 0.9, 0.9, 0.99, 0.99]
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    together = draw(logits, parameters, uniforms)
    for i in range(5):
        alone = draw(logits[i : i + 1], parameters[i : i + 1], uniforms[i : i + 1])
        assert (together[0][i], together[1][i]) == (alone[0][0], alone[1][0])


@given(st.integers(-(2**70), 2**70), st.integers(0, 10_000))
def test_uniform_numbers_are_in_range_and_repeat(seed: int, position: int) -> None:
    drawn = uniform(seed, position)
    assert 0 <= drawn < 1
    assert drawn == uniform(seed, position)


def test_uniform_numbers_of_seeds_and_positions_are_independent() -> None:
    drawn = [[uniform(seed, p) for p in range(100)] for seed in range(100)]
    numbers = torch.tensor(drawn, dtype=torch.float64)
    assert float(numbers.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(torch.corrcoef(numbers).fill_diagonal_(0).abs().max()) < 0.5
    assert len(set(numbers.flatten().tolist())) == 10_000


@settings(deadline=None)
@given(
    st.lists(st.floats(-60, 60), min_size=2, max_size=8),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.05, 1),
    st.integers(0, 8),
)
def test_a_token_that_was_left_out_is_never_drawn(
    logits: list[float], drawn: float, top_p: float, top_k: int
) -> None:
    parameters = [SamplingParameters(top_p=top_p, top_k=top_k)]
    row = torch.tensor([logits])
    tokens, logprobs = draw(row, parameters, [drawn])
    assert math.isfinite(logprobs[0])
    assert logprobs[0] <= 0
    assert bool(restrict(row, parameters)[0, tokens[0]].isfinite())
