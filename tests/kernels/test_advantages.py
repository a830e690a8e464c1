"""Advantages of REINFORCE++ and the aggregation of tokens: known answers."""

import pytest
import torch

from headrace.kernels import (
    aggregation_weights,
    masked_whiten,
    reinforce_pp_advantages,
)
from headrace.kernels.losses.aggregation import Aggregation


def test_reinforce_pp_whitens_returns_to_go_over_the_batch() -> None:
    rewards = torch.tensor([0.0, -9.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    mask = torch.tensor([1, 0, 1, 1, 1, 1])
    out = reinforce_pp_advantages(rewards, mask, torch.tensor([0, 4, 6]), gamma=0.5)
    returns = torch.tensor([0.25, 0.5, 1.0, 0.0, 0.0], dtype=torch.float64)
    expected = (returns - returns.mean()) / returns.std()
    torch.testing.assert_close(out[mask == 1], expected, rtol=1e-6, atol=1e-6)
    assert out[1] == 0.0


def test_whitening_nothing_gives_zeros() -> None:
    assert not masked_whiten(torch.ones(3), torch.zeros(3)).any()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("token_sum", [1, 1, 0, 1, 0]),
        ("token_mean", [1 / 3, 1 / 3, 0, 1 / 3, 0]),
        ("sequence_mean", [1 / 4, 1 / 4, 0, 1 / 2, 0]),
        ("sequence_sum", [1 / 2, 1 / 2, 0, 1 / 2, 0]),
        ("horizon", [1 / 20, 1 / 20, 0, 1 / 20, 0]),
    ],
)
def test_each_aggregation_weighs_tokens_as_named(how: Aggregation, expected: list[float]) -> None:
    """Two sequences with sampled tokens and a third without."""
    mask, bounds = torch.tensor([1, 1, 0, 1, 0]), torch.tensor([0, 3, 4, 5])
    out = aggregation_weights(mask, how, cu_seqlens=bounds, horizon=10)
    assert out.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("how", ["token_mean", "sequence_mean", "sequence_sum", "horizon"])
def test_micro_batches_with_global_totals_give_the_weights_of_the_whole(how: Aggregation) -> None:
    mask, bounds = torch.tensor([1, 1, 0, 1, 0, 1, 1]), torch.tensor([0, 3, 4, 7])
    whole = aggregation_weights(mask, how, cu_seqlens=bounds, horizon=10)
    parts = [
        aggregation_weights(
            mask[rows], how, cu_seqlens=cuts, horizon=10, tokens=5, sequences=torch.tensor(3)
        )
        for rows, cuts in (
            (slice(0, 4), torch.tensor([0, 3, 4])),
            (slice(4, 7), torch.tensor([0, 3])),
        )
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_averaging_ranks_is_undone() -> None:
    mask = torch.ones(4)
    out = aggregation_weights(mask, "token_mean", tokens=8, ranks=2)
    assert out.tolist() == [0.25] * 4


@pytest.mark.parametrize(
    ("how", "missing"),
    [("mean", "aggregation"), ("sequence_mean", "cu_seqlens"), ("horizon", "horizon")],
)
def test_what_an_aggregation_needs_must_be_given(how: Aggregation, missing: str) -> None:
    bounds = torch.tensor([0, 4]) if missing == "horizon" else None
    with pytest.raises(ValueError, match=missing):
        aggregation_weights(torch.ones(4), how, cu_seqlens=bounds)
