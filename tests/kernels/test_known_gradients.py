"""Gradients that were formed with the loss are handed out: scaled in place, once, not copied."""

import pytest
import torch
from torch import Tensor

from headrace.kernels import linear_policy_loss
from headrace.kernels.device.scale import scale_in_place
from headrace.kernels.implementation import Impl
from headrace.kernels.known_gradients import with_gradients
from tests.kernels.cases import LOSSES, Case, make_case

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton")
BOTH = pytest.mark.parametrize("impl", ["torch", "triton"])


def loss_of(case: Case, impl: Impl) -> Tensor:
    return linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo-kl"]), impl=impl
    ).loss


@BOTH
def test_a_scaled_loss_has_scaled_gradients(impl: Impl) -> None:
    case = make_case()
    inputs = (case.hidden, case.weight)
    plain = torch.autograd.grad(loss_of(case, impl), inputs)
    scaled = torch.autograd.grad(loss_of(case, impl) / 4, inputs)
    assert all(torch.equal(a / 4, b) for a, b in zip(plain, scaled, strict=True))


@BOTH
def test_gradients_are_added_to_those_of_earlier_micro_batches(impl: Impl) -> None:
    case = make_case()
    (once,) = torch.autograd.grad(loss_of(case, impl), case.weight)
    for _ in range(2):
        loss_of(case, impl).backward()  # type: ignore[no-untyped-call]  # torch's own
    torch.testing.assert_close(case.weight.grad, once * 2)


@BOTH
def test_a_second_backward_pass_is_refused_with_what_to_do(impl: Impl) -> None:
    case = make_case()
    loss = loss_of(case, impl)
    torch.autograd.grad(loss, case.hidden, retain_graph=True)
    with pytest.raises(RuntimeError, match="handed out once"):
        torch.autograd.grad(loss, case.weight)


def test_the_gradient_is_the_tensor_that_was_formed() -> None:
    weight = torch.randn(3, 2, requires_grad=True)
    formed = torch.randn(3, 2)
    nothing = torch.empty(0)
    value = with_gradients(torch.tensor(1.0), torch.empty(0), weight, nothing, formed)
    (grad,) = torch.autograd.grad(value, weight)
    assert grad.data_ptr() == formed.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("upstream", [1.0, -0.25])
def test_the_kernel_scales_in_place(upstream: float, dtype: torch.dtype) -> None:
    grad = torch.randn(7, 19).to(dtype)
    expected = (grad.float() * upstream).to(dtype)
    scale_in_place(grad, torch.tensor(upstream))
    assert torch.equal(grad, expected)


def test_scaling_keeps_the_operators_contract() -> None:
    torch.library.opcheck(
        torch.ops.headrace.scale_gradient.default,
        (torch.randn(5), torch.tensor(3.0)),
        test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
    )
