"""The operators keep torch's contract, and every function compiles in one piece."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from headrace.kernels import (
    LossConfig,
    discounted_returns,
    gae,
    linear_logp,
    linear_policy_loss,
    policy_loss,
    segment_means,
)
from headrace.kernels.implementation import Impl
from tests.kernels.cases import LOSSES, Case, make_case

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.filterwarnings("ignore"),  # the interpreter's and the compiler's own
]
BOTH = pytest.mark.parametrize("impl", ["torch", "triton"])


def in_one_piece(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def columns(case: Case) -> Tensor:
    names = ("advantages", "behaviour_logp", "token_weights")
    rows = [case.columns[name] for name in names]
    return torch.stack((*rows, torch.ones_like(rows[0])))


def checked(name: str, *arguments: Any) -> None:
    operator = getattr(torch.ops.headrace, name).default
    # Not "test_aot_dispatch_dynamic" for all: it compiles again each time (tested once below).
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator, arguments, test_utils=tests)


@BOTH
@pytest.mark.parametrize("main_grad", [False, True])
def test_linear_policy_gradients_keeps_the_contract(impl: Impl, main_grad: bool) -> None:
    case = make_case(n=9)
    weight = case.weight.detach()
    name, numbers = LOSSES["gspo-all"].encode()
    checked(
        "linear_policy_gradients",
        case.hidden.detach(),
        weight,
        case.targets,
        columns(case),
        case.columns["reference_logp"],
        case.columns["proximal_logp"],
        case.columns["cu_seqlens"],
        torch.zeros_like(weight) if main_grad else None,
        name,
        numbers,
        True,
        True,
        None,
        1 << 20,
        None,
        impl,
    )


@BOTH
def test_the_other_operators_keep_the_contract(impl: Impl) -> None:
    case = make_case(n=9)
    rows = torch.randn(9)
    mask, bounds = torch.ones(9, dtype=torch.bool), torch.tensor([0, 4, 9])
    inverse = torch.ones(9)
    checked(
        "linear_logp", case.hidden.detach(), case.weight.detach(), case.targets, inverse, None, impl
    )
    checked("gae", rows, rows, mask, torch.zeros(2), bounds, 0.9, 0.9, impl)
    checked("discounted_returns", rows, mask, bounds, 0.9, impl)
    checked("segment_sums", rows, mask, bounds, impl)
    logits = (case.hidden @ case.weight.t()).detach()
    name, numbers = LossConfig().encode()
    checked(
        "policy_gradients",
        logits,
        case.targets,
        columns(case),
        None,
        None,
        None,
        torch.empty_like(logits),
        name,
        numbers,
        impl,
    )


def test_the_tie_to_autograd_keeps_the_contract() -> None:
    value, first, second = torch.tensor(2.0), torch.randn(3), torch.randn(2, 2)
    arguments = (value, first.requires_grad_(), second.requires_grad_(), torch.ones(3), second * 2)
    torch.library.opcheck(
        torch.ops.headrace.with_gradients.default,
        tuple(part.detach().requires_grad_(part is first or part is second) for part in arguments),
    )


@BOTH
def test_the_losses_compile_in_one_piece_with_the_same_gradients(impl: Impl) -> None:
    case = make_case(n=9)
    loss = LOSSES["gspo-all"]

    def linear(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        out = linear_policy_loss(
            hidden * 2.0, weight, case.targets, **case.arguments(loss), impl=impl
        )
        return out.loss * 3.0, out.metrics["kl_k3"]

    def on_logits(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        logits = hidden @ weight.t()
        out = policy_loss(logits, case.targets, **case.arguments(loss), impl=impl)
        return out.loss, out.metrics["entropy"]

    for function in (linear, on_logits):
        plain = function(case.hidden, case.weight)
        compiled = in_one_piece(function)(case.hidden, case.weight)
        torch.testing.assert_close(compiled, plain)
        mine = torch.autograd.grad(compiled[0], (case.hidden, case.weight))
        theirs = torch.autograd.grad(plain[0], (case.hidden, case.weight))
        torch.testing.assert_close(mine, theirs)


@BOTH
def test_a_main_gradient_is_written_by_the_compiled_function_too(impl: Impl) -> None:
    case = make_case(n=9)

    def step(hidden: Tensor, weight: Tensor, main_grad: Tensor) -> Tensor:
        return linear_policy_loss(
            hidden,
            weight,
            case.targets,
            **case.arguments(LossConfig()),
            impl=impl,
            main_grad=main_grad,
        ).loss

    mains = [torch.ones(case.weight.shape) for _ in range(2)]
    functions: list[Callable[..., Any]] = [step, in_one_piece(step)]
    for function, main_grad in zip(functions, mains, strict=True):
        function(case.hidden, case.weight, main_grad).backward()
    assert mains[0].sub(1.0).any()
    torch.testing.assert_close(mains[1], mains[0])


@BOTH
def test_scoring_and_scans_compile_in_one_piece(impl: Impl) -> None:
    case = make_case(n=9)
    mask, bounds = torch.arange(9) % 3 != 0, torch.tensor([0, 4, 9])

    def score(hidden: Tensor, weight: Tensor) -> Tensor:
        return linear_logp(hidden, weight, case.targets, impl=impl).logp

    def scans(rewards: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        return (
            *gae(rewards, values, bounds, lam=0.9, mask=mask, impl=impl),
            discounted_returns(rewards, bounds, mask=mask, impl=impl),
            segment_means(rewards, bounds, mask=mask, impl=impl),
        )

    calls: tuple[tuple[Callable[..., Any], tuple[Tensor, ...]], ...] = (
        (score, (case.hidden, case.weight)),
        (scans, (torch.randn(9), torch.randn(9))),
    )
    for function, arguments in calls:
        compiled = in_one_piece(function)
        torch.testing.assert_close(compiled(*arguments), function(*arguments))
