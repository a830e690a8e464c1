"""Scans over packed sequences: known answers, and both implementations against a float64 loop."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from headrace.kernels import discounted_returns, gae, segment_means, segment_sums, turn_gae
from headrace.kernels.implementation import Impl
from headrace.kernels.scan.reference import gae_reference, returns_reference

pytestmark = pytest.mark.interpreter

BOTH = pytest.mark.parametrize("impl", ["torch", "triton"])
# Lengths around the interpreter's block of 16; the second sequence is empty, rows 90.. are none's.
BOUNDS = torch.tensor([0, 16, 16, 17, 34, 49, 90])


def f32(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def draw(rows: int, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, generator=g) < 0.6
    mask[17:34] = False  # a sequence with no sampled token
    inputs = {name: torch.randn(rows, generator=g) for name in ("rewards", "values")}
    for held in inputs.values():
        held[~mask] = float("nan")
    return {**inputs, "mask": mask}


@BOTH
def test_gae_matches_the_loop_and_skips_observations(impl: Impl) -> None:
    inputs = draw(96)
    bootstrap = torch.linspace(-1.0, 1.0, 6)
    advantages, returns = gae(
        **inputs, cu_seqlens=BOUNDS, gamma=0.97, lam=0.9, bootstrap=bootstrap, impl=impl
    )
    exact = gae_reference(**inputs, cu_seqlens=BOUNDS, gamma=0.97, lam=0.9, bootstrap=bootstrap)
    torch.testing.assert_close(advantages.double(), exact, rtol=1e-6, atol=1e-6)
    kept = inputs["mask"].clone()
    torch.testing.assert_close(returns[kept], (advantages + inputs["values"])[kept])
    assert not returns[~kept].any()


@BOTH
@pytest.mark.parametrize("gamma", [1.0, 0.9])
def test_returns_match_the_loop(impl: Impl, gamma: float) -> None:
    inputs = draw(96, seed=1)
    del inputs["values"]
    out = discounted_returns(**inputs, cu_seqlens=BOUNDS, gamma=gamma, impl=impl)
    exact = returns_reference(**inputs, cu_seqlens=BOUNDS, gamma=gamma)
    torch.testing.assert_close(out.double(), exact, rtol=1e-6, atol=1e-6)


# Rows in the interpreter's tiles of 16, and the tiles again in blocks of 16: 44 tiles are 3 blocks.
LONG = 700


@BOTH
@pytest.mark.parametrize(
    "cuts",
    [[], [1], [256, 256, 257], [15, 16, 17, 400, 511, 512, 513, 699], list(range(0, 700, 7))],
)
def test_sequences_of_any_length_are_scanned_across_tiles(impl: Impl, cuts: list[int]) -> None:
    bounds = torch.tensor([0, *cuts, LONG])
    g = torch.Generator().manual_seed(3)
    mask = torch.rand(LONG, generator=g) < 0.8
    rewards, values = torch.randn(2, LONG, generator=g)
    rewards[~mask], values[~mask] = float("nan"), float("nan")
    bootstrap = torch.randn(len(bounds) - 1, generator=g)
    inputs = {"rewards": rewards, "values": values, "mask": mask}
    advantages, _ = gae(
        **inputs, cu_seqlens=bounds, gamma=0.99, lam=0.95, bootstrap=bootstrap, impl=impl
    )
    exact = gae_reference(**inputs, cu_seqlens=bounds, gamma=0.99, lam=0.95, bootstrap=bootstrap)
    torch.testing.assert_close(advantages.double(), exact, rtol=2e-6, atol=2e-6)
    returns = discounted_returns(rewards, bounds, gamma=1.0, mask=mask, impl=impl)
    exact = returns_reference(rewards, bounds, gamma=1.0, mask=mask)
    torch.testing.assert_close(returns.double(), exact, rtol=2e-6, atol=2e-5)
    sums = segment_sums(rewards, bounds, mask=mask, impl=impl)
    whole = [part.double().nansum() for part in rewards.split(bounds.diff().tolist())]
    torch.testing.assert_close(sums.double(), torch.stack(whole), rtol=1e-5, atol=1e-5)


@BOTH
def test_sums_and_means_of_segments(impl: Impl) -> None:
    inputs = draw(96, seed=2)
    values, mask = inputs["values"], inputs["mask"]
    sums = segment_sums(values, BOUNDS, mask=mask, impl=impl)
    means = segment_means(values, BOUNDS, mask=mask, impl=impl)
    for s, (start, stop) in enumerate(pairwise(BOUNDS)):
        kept = values[start:stop][mask[start:stop]].double()
        expected = kept.sum() if kept.numel() else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(sums[s].double(), expected, rtol=1e-6, atol=1e-6)
        mean = expected / max(1, kept.numel())
        torch.testing.assert_close(means[s].double(), mean, rtol=1e-6, atol=1e-6)


@BOTH
def test_turn_gae_gives_the_known_answer_to_all_rows_of_a_turn(impl: Impl) -> None:
    """Three turns of two sampled tokens and an observation before each; one empty turn."""
    mask = torch.tensor([0, 1, 1, 0, 0, 1, 1, 0, 1, 1])
    nan = float("nan")
    values = f32(nan, 0.2, 9.0, nan, nan, 0.4, 8.0, nan, 0.6, 7.0)
    rewards = f32(nan, 0, 0, nan, nan, 0, 0, nan, 0.25, 0.75)
    advantages, returns = turn_gae(
        rewards,
        values,
        torch.tensor([0, 10]),
        torch.tensor([0, 3, 4, 7, 10]),
        gamma=0.99,
        lam=0.9,
        mask=mask,
        impl=impl,
    )
    known = f32(0, 0.6864064, 0.6864064, 0, 0, 0.5504, 0.5504, 0, 0.4, 0.4)
    torch.testing.assert_close(advantages, known)
    torch.testing.assert_close(returns, known + f32(0, 0.2, 0.2, 0, 0, 0.4, 0.4, 0, 0.6, 0.6))


@BOTH
def test_turns_of_several_sequences_do_not_mix(impl: Impl) -> None:
    rewards, values = torch.randn(12), torch.randn(12)
    turns, sequences = torch.tensor([0, 2, 5, 5, 9, 12]), torch.tensor([0, 5, 12])
    whole, _ = turn_gae(rewards, values, sequences, turns, impl=impl)
    first, _ = turn_gae(rewards[:5], values[:5], sequences[:2], turns[:3], impl=impl)
    last, _ = turn_gae(rewards[5:], values[5:], sequences[1:] - 5, turns[3:] - 5, impl=impl)
    torch.testing.assert_close(whole, torch.cat((first, last)))


@BOTH
@pytest.mark.parametrize(
    ("gamma", "expected"), [(0.9, (0.81, 0.9, 1.0)), (0.95, (0.9025, 0.95, 1.0))]
)
def test_discounted_returns_give_the_known_answers(
    impl: Impl, gamma: float, expected: tuple[float, ...]
) -> None:
    out = discounted_returns(f32(0, 0, 1), torch.tensor([0, 3]), gamma=gamma, impl=impl)
    torch.testing.assert_close(out, f32(*expected))


@BOTH
def test_no_rows_and_no_sequences(impl: Impl) -> None:
    nothing, bounds = torch.zeros(0), torch.zeros(1, dtype=torch.int64)
    assert discounted_returns(nothing, bounds, impl=impl).shape == (0,)
    assert segment_means(nothing, bounds, impl=impl).shape == (0,)
    assert gae(nothing, nothing, bounds, impl=impl)[0].shape == (0,)


@BOTH
def test_bounds_may_be_int32(impl: Impl) -> None:
    inputs = draw(96)
    small = BOUNDS.int()
    wide = gae(**inputs, cu_seqlens=BOUNDS, impl=impl)[0]  # type: ignore[arg-type]  # named tensors
    narrow = gae(**inputs, cu_seqlens=small, impl=impl)[0]  # type: ignore[arg-type]  # the same
    assert torch.equal(wide, narrow)
    means = [
        segment_means(inputs["rewards"], cuts, mask=inputs["mask"], impl=impl)
        for cuts in (BOUNDS, small)
    ]
    assert torch.equal(means[0], means[1])


def test_a_repeat_is_bitwise_equal() -> None:
    inputs = draw(96)

    def once() -> tuple[Tensor, Tensor]:
        return gae(
            inputs["rewards"],
            inputs["values"],
            BOUNDS,
            lam=0.9,
            mask=inputs["mask"],
            impl="triton",
        )

    first, second = once(), once()
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": torch.ones(3)}, "mask"),
        ({"cu_seqlens": torch.tensor([0.0, 4.0])}, "cu_seqlens"),
        ({"rewards": torch.zeros(4, dtype=torch.bfloat16)}, "fp32"),
        ({"values": torch.zeros(3)}, "values"),
        ({"bootstrap": torch.zeros(2)}, "bootstrap"),
        ({"impl": "cuda"}, "impl"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "rewards": torch.zeros(4),
        "values": torch.zeros(4),
        "cu_seqlens": torch.tensor([0, 4]),
    }
    with pytest.raises(ValueError, match=message):
        gae(**{**arguments, **change})
