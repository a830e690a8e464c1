"""`policy_loss` on logits against the float64 reference, both implementations."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from headrace.kernels import LossConfig, policy_loss
from headrace.kernels.implementation import Impl
from headrace.kernels.linear_loss.reference import linear_policy_loss_reference
from tests.kernels.cases import LOSSES, Case, make_case, whole_sequences

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]
BOTH = pytest.mark.parametrize("impl", ["torch", "triton"])
# The gradient is rounded once, at the end.
ERROR = {torch.float32: 5e-6, torch.bfloat16: 2**-8}


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def logits_case(dtype: torch.dtype = torch.float32, **sizes: Any) -> tuple[Case, Tensor]:
    """A case, and its logits as a leaf."""
    case = make_case(**{"n": 12, "v": 130, **sizes})
    logits = (case.hidden @ case.weight.t()).detach().to(dtype)
    return case, logits.requires_grad_()


def check(
    case: Case, logits: Tensor, loss: LossConfig, impl: Impl, *, inplace: bool = False
) -> None:
    arguments = case.arguments(loss)
    double = logits.detach().double().requires_grad_()
    identity = torch.eye(logits.shape[1], dtype=torch.float64)
    expected, logp, entropy = linear_policy_loss_reference(
        double, identity, case.targets, **arguments
    )
    out = policy_loss(logits, case.targets, **arguments, impl=impl, inplace=inplace)
    active = case.columns["token_weights"] != 0
    torch.testing.assert_close(out.logp.double()[active], logp.detach()[active], rtol=0, atol=1e-5)
    torch.testing.assert_close(
        out.entropy.double()[active], entropy.detach()[active], rtol=0, atol=1e-5
    )
    torch.testing.assert_close(out.loss.double(), expected, rtol=1e-5, atol=1e-5)
    (mine,) = torch.autograd.grad(out.loss, logits)
    (exact,) = torch.autograd.grad(expected, double)
    error = float((mine.double() - exact).norm() / exact.norm())
    assert error <= ERROR[logits.dtype], f"{error:.2e}"


@BOTH
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_matches_float64(name: str, impl: Impl) -> None:
    check(*logits_case(), LOSSES[name], impl)


@BOTH
@pytest.mark.parametrize("name", ["ppo-k2-entropy", "gspo"])
def test_bf16_logits_match_float64(name: str, impl: Impl) -> None:
    case, logits = logits_case(torch.bfloat16)
    whole_sequences(case)
    check(case, logits, LOSSES[name], impl)


@BOTH
@pytest.mark.parametrize(("n", "v"), [(1, 7), (3, 2), (5, 128), (5, 129)])
def test_awkward_sizes(n: int, v: int, impl: Impl) -> None:
    case, logits = logits_case(n=n, v=v)
    case.columns["token_weights"][0] = 1.0
    case.columns["advantages"][0] = -0.7
    check(case, logits, LOSSES["ppo-kl"], impl)


@BOTH
def test_huge_logits_masked_nan_and_temperature(impl: Impl) -> None:
    case, logits = logits_case()
    masked = case.columns["token_weights"] == 0
    with torch.no_grad():
        logits.mul_(80.0 / logits.abs().max())
        logits[masked] = float("nan")
    case.columns["temperature"] = torch.linspace(0.9, 1.1, 12)
    out = policy_loss(logits, case.targets, **case.arguments(LOSSES["ppo-kl"]), impl=impl)
    (grad,) = torch.autograd.grad(out.loss, logits)
    assert out.loss.isfinite()
    assert not grad[masked].any()
    assert not out.logp[masked].any()
    with torch.no_grad():
        logits[masked] = 0.0
    case.columns["behaviour_logp"] = out.logp + 0.1
    check(case, logits, LOSSES["ppo"], impl)


@BOTH
def test_the_gradient_may_take_the_place_of_the_logits(impl: Impl) -> None:
    case, leaf = logits_case()
    arguments = case.arguments(LOSSES["ppo-kl"])
    (exact,) = torch.autograd.grad(
        policy_loss(leaf, case.targets, **arguments, impl=impl).loss, leaf
    )
    logits = leaf * 1.0
    out = policy_loss(logits, case.targets, **arguments, impl=impl, inplace=True)
    torch.testing.assert_close(logits.detach(), exact)
    torch.testing.assert_close(torch.autograd.grad(out.loss, leaf)[0], exact)


def test_autograd_notices_that_overwritten_logits_were_needed() -> None:
    case, leaf = logits_case()
    logits = leaf.tanh()  # its backward reads its result
    out = policy_loss(logits, case.targets, **case.arguments(LOSSES["ppo"]), inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out.loss, leaf)


@BOTH
def test_without_gradient_the_loss_is_the_same(impl: Impl) -> None:
    case, logits = logits_case()
    for name in ("ppo", "gspo"):
        arguments = case.arguments(LOSSES[name])
        trained = policy_loss(logits, case.targets, **arguments, impl=impl)
        with torch.no_grad():
            scored = policy_loss(logits, case.targets, **arguments, impl=impl)
        torch.testing.assert_close(scored.loss, trained.loss.detach())
        for metric, value in trained.metrics.items():
            torch.testing.assert_close(scored.metrics[metric], value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(130, 12).t()}, "contiguous"),
        ({"logits": torch.zeros(12)}, "logits"),
        ({"targets": torch.full((12,), 130)}, "vocabulary"),
        ({"targets": torch.zeros(12)}, "int64"),
        ({"advantages": torch.zeros(3)}, "advantages"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    case, logits = logits_case()
    arguments = {
        "logits": logits,
        "targets": case.targets,
        **case.arguments(LOSSES["ppo"]),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        policy_loss(**arguments)
