"""The kernels on a real device, where the fused product, bulk copies and mixed-type products run.

`HEADRACE_KERNELS_ON_GPU=1 pytest tests/kernels/test_on_gpu.py`: run this before timing anything.
"""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from headrace.kernels import (
    discounted_returns,
    gae,
    linear_logp,
    linear_policy_loss,
    policy_loss,
    segment_means,
)
from headrace.kernels.losses.reference import linear_logp_reference
from tests.kernels.cases import LOSSES, Case, assert_matches_reference, make_case

ON_GPU = os.environ.get("HEADRACE_KERNELS_ON_GPU") == "1" and torch.cuda.is_available()
pytestmark = pytest.mark.gpu
if not ON_GPU:
    pytest.skip("needs HEADRACE_KERNELS_ON_GPU=1 and a CUDA device", allow_module_level=True)
SHAPES = {"narrow": (257, 576, 5003), "wide": (300, 2048, 9001), "unaligned": (130, 100, 777)}
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"chunk_rows": None},
    "blocks": {"chunk_rows": 128},
    "recompute": {"chunk_rows": None, "memory_budget": 1},
}
# Exponents, scaled rows and the gradient are each rounded to bf16 once, 2^-9 at most.
BF16_ERROR = 5e-3


def on_device(case: Case) -> Case:
    """The case with all its tensors on the device."""
    return Case(
        hidden=case.hidden.detach().cuda().requires_grad_(),
        weight=case.weight.detach().cuda().requires_grad_(),
        targets=case.targets.cuda(),
        columns={name: value.cuda() for name, value in case.columns.items()},
    )


def case_of(shape: str, dtype: torch.dtype = torch.bfloat16) -> Case:
    n, h, v = SHAPES[shape]
    return on_device(make_case(n, h, v, dtype=dtype, logit_scale=6.0))


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Uninitialised memory holds NaN; products that could differ between runs are refused."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("product", ["fused", "library"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_match_float64(
    name: str, shape: str, way: str, product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if product == "library":
        monkeypatch.setattr("headrace.kernels.device.product.tile_for", lambda *_: None)
    assert_matches_reference(
        case_of(shape), LOSSES[name], impl="triton", gradient_error=BF16_ERROR, **WAYS[way]
    )


@pytest.mark.parametrize("way", WAYS)
def test_fp32_matches_float64(way: str) -> None:
    case = case_of("narrow", torch.float32)
    assert_matches_reference(
        case, LOSSES["ppo-k2-entropy"], impl="triton", gradient_error=2e-5, **WAYS[way]
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_log_probabilities_match_float64(shape: str, dtype: torch.dtype) -> None:
    case = case_of(shape, dtype)
    out = linear_logp(case.hidden, case.weight, case.targets, impl="triton", chunk_rows=128)
    exact = linear_logp_reference(case.hidden.detach(), case.weight.detach(), case.targets)
    for name in ("logp", "lse", "entropy"):
        torch.testing.assert_close(
            getattr(out, name).double(), getattr(exact, name), rtol=1e-6, atol=5e-5
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_on_logits_is_that_of_torch(name: str, dtype: torch.dtype) -> None:
    case = case_of("wide", dtype)
    logits = (case.hidden @ case.weight.t()).detach().requires_grad_()
    arguments = case.arguments(LOSSES[name])
    mine = policy_loss(logits, case.targets, **arguments, impl="triton")
    theirs = policy_loss(logits, case.targets, **arguments, impl="torch")
    torch.testing.assert_close(mine.loss, theirs.loss, rtol=1e-5, atol=1e-5)
    (first,), (second,) = (torch.autograd.grad(out.loss, logits) for out in (mine, theirs))
    error = float((first - second).double().norm() / second.double().norm())
    assert error <= (BF16_ERROR if dtype == torch.bfloat16 else 1e-5)


@pytest.mark.parametrize("sequences", [1, 2_000])
def test_scans_of_a_million_rows_are_those_of_torch(sequences: int) -> None:
    g = torch.Generator().manual_seed(0)
    rows = 1 << 20
    rewards, values = torch.randn(2, rows, generator=g).cuda()
    mask = (torch.rand(rows, generator=g) < 0.7).cuda()
    cuts = torch.randint(rows, (sequences - 1,), generator=g).sort().values
    bounds = torch.cat((torch.zeros(1).long(), cuts, torch.tensor([rows]))).cuda()
    for function, arguments in (
        (gae, {"rewards": rewards, "values": values, "gamma": 0.99, "lam": 0.95}),
        (discounted_returns, {"rewards": rewards, "gamma": 0.99}),
        (segment_means, {"values": rewards}),
    ):
        one, other = (
            function(**arguments, cu_seqlens=bounds, mask=mask, impl=impl)
            for impl in ("triton", "torch")
        )
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_scaled_loss_has_scaled_gradients_and_no_copy_of_them() -> None:
    case = case_of("wide")
    inputs = (case.hidden, case.weight)

    def loss() -> torch.Tensor:
        arguments = case.arguments(LOSSES["ppo"])
        return linear_policy_loss(*inputs, case.targets, **arguments, impl="triton").loss

    plain = torch.autograd.grad(loss(), inputs)
    scaled = torch.autograd.grad(loss() * -0.25, inputs)
    assert all(torch.equal(a * -0.25, b) for a, b in zip(plain, scaled, strict=True))
    del plain, scaled
    formed = loss()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.autograd.grad(formed, inputs)
    assert torch.cuda.max_memory_allocated() - before < 1 << 20


@pytest.mark.parametrize("way", WAYS)
def test_nothing_waits_for_the_device_and_a_repeat_is_bitwise_equal(way: str) -> None:
    case = case_of("wide")
    arguments: dict[str, Any] = {
        **case.arguments(LOSSES["gspo-all"]),
        "active_rows": int((case.columns["token_weights"] != 0).sum()),
        "impl": "triton",
        **WAYS[way],
    }

    def once() -> tuple[torch.Tensor, ...]:
        out = linear_policy_loss(case.hidden, case.weight, case.targets, **arguments)
        return (*torch.autograd.grad(out.loss, (case.hidden, case.weight)), out.loss, out.logp)

    first = once()
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = once()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_logits_are_never_held() -> None:
    """4,096 rows of a vocabulary of 64 Ki in 32 MiB: whole logits in bf16 would be 512 MiB."""
    case = on_device(make_case(64, 256, 1 << 16, dtype=torch.bfloat16))
    repeat = 64
    hidden = case.hidden.detach().repeat(repeat, 1).requires_grad_()
    columns = {
        name: value.repeat(repeat)
        for name, value in case.arguments(LOSSES["ppo"]).items()
        if name not in ("loss", "cu_seqlens")
    }
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = linear_policy_loss(
        hidden,
        case.weight,
        case.targets.repeat(repeat),
        **columns,
        loss=LOSSES["ppo"],
        impl="triton",
        memory_budget=32 << 20,
    )
    torch.autograd.grad(out.loss, (hidden, case.weight))
    assert torch.cuda.max_memory_allocated() - before < 256 << 20
