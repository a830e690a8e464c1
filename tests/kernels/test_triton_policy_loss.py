"""The Triton path of `linear_policy_loss` against the float64 reference, in Triton's interpreter
(where products of bf16 are done in fp32: the interpreter multiplies bf16 wrongly)."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from headrace.kernels import LossConfig, linear_policy_loss
from headrace.kernels.implementation import Impl
from headrace.kernels.linear_loss import triton as path
from headrace.kernels.linear_loss.plan import Plan
from tests.kernels.cases import (
    LOSSES,
    Case,
    assert_matches_reference,
    make_case,
    whole_sequences,
)

pytestmark = [
    pytest.mark.interpreter,
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton"),
]
# One pass over all rows, one pass by blocks, and recomputing by strips.
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"chunk_rows": None},
    "blocks": {"chunk_rows": 16},
    "recompute": {"chunk_rows": None, "memory_budget": 1},
}
EACH_WAY = pytest.mark.parametrize("way", WAYS)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
# fp32: sums in another order, over logits up to 160. bf16: exponents, scaled rows and the gradient
# are each rounded once (2^-9 at most).
ERROR = {torch.float32: 2e-5, torch.bfloat16: 5e-3}


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Uninitialised memory holds NaN, and strips of the vocabulary are narrow."""
    torch.use_deterministic_algorithms(True)
    monkeypatch.setattr(path, "LEAST_COLUMNS", 48)
    yield
    torch.use_deterministic_algorithms(False)


def check(case: Case, loss: LossConfig, way: str, **limits: Any) -> None:
    assert_matches_reference(
        case,
        loss,
        impl="triton",
        gradient_error=ERROR[case.hidden.dtype],
        **{**WAYS[way], **limits},
    )


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_matches_float64(name: str) -> None:
    check(make_case(), LOSSES[name], "blocks")


@pytest.mark.parametrize("way", ["whole", "recompute"])
@pytest.mark.parametrize("name", ["ppo-kl", "ppo-k2-entropy", "gspo-all"])
def test_each_way_matches_float64(name: str, way: str) -> None:
    check(make_case(), LOSSES[name], way)


@EACH_WAY
@pytest.mark.parametrize("name", ["ppo", "gspo-all"])
def test_bf16_inputs_match_float64(name: str, way: str) -> None:
    check(make_case(dtype=torch.bfloat16), LOSSES[name], way)


@EACH_WAY
def test_whole_sequences_match_float64(way: str) -> None:
    case = make_case()
    whole_sequences(case)
    case.columns["cu_seqlens"] = case.columns["cu_seqlens"].int()
    check(case, LOSSES["gspo"], way)


@EACH_WAY
@pytest.mark.parametrize(
    ("n", "h", "v"),
    [(1, 8, 11), (33, 20, 64), (17, 4, 2), (16, 16, 257), (20, 6, 50)],
    ids=["one-row", "row-tail", "two-tokens", "one-column-over", "unaligned"],
)
def test_awkward_sizes(n: int, h: int, v: int, way: str) -> None:
    case = make_case(n, h, v)
    case.columns["token_weights"][0] = 1.0
    case.columns["advantages"][0] = -0.7
    check(case, LOSSES["ppo-kl"], way)


@EACH_WAY
@pytest.mark.parametrize("logit_scale", [1.0, 10.0])
def test_flat_and_peaked_distributions_match_float64(logit_scale: float, way: str) -> None:
    check(make_case(n=32, v=300, logit_scale=logit_scale), LOSSES["ppo-k2-entropy"], way)


@EACH_WAY
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["mixed", "all-negative"])
def test_huge_logits_stay_finite_and_right(sign: float, way: str) -> None:
    """±80, or all from -160 to 0; the rarest targets lie 150 nats down."""
    case = make_case(n=16, v=50)
    with torch.no_grad():
        if sign < 0:
            case.hidden[:, 0] = 1.0
        case.weight.mul_(80.0 / (case.hidden @ case.weight.t()).abs().max())
        if sign < 0:
            case.weight[:, 0] -= 80.0
        logits = case.hidden.double() @ case.weight.double().t()
        logp = torch.log_softmax(logits, -1).gather(1, case.targets[:, None])[:, 0].float()
    case.columns["behaviour_logp"] = logp + 0.1
    case.columns["reference_logp"] = logp - 0.1
    check(case, LOSSES["ppo-kl"], way)


def test_a_token_beyond_the_range_of_exponents_gets_no_gradient_in_one_pass() -> None:
    """200 nats below the best, which the behaviour policy did not know: out of range, not NaN."""
    hidden = torch.ones(2, 4, requires_grad=True)
    weight = torch.zeros(3, 4)
    weight[0] = 50.0
    weight.requires_grad_()
    out = linear_policy_loss(
        hidden,
        weight,
        torch.tensor([1, 0]),
        advantages=torch.ones(2),
        behaviour_logp=torch.tensor([-1.0, 0.0]),
        token_weights=torch.ones(2),
        loss=LossConfig(),
        impl="triton",
    )
    grads = torch.autograd.grad(out.loss, (hidden, weight))
    assert out.loss.isfinite()
    assert out.logp[0] <= -75.0
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[0][0].any()


@EACH_WAY
def test_a_row_that_overflows_leaves_no_nan(way: str) -> None:
    """All tokens but the target tie, and the head's entries are large: E·W exceeds fp32."""
    hidden = torch.ones(2, 4, requires_grad=True)
    weight = torch.full((300, 4), 2000.0)
    weight[1] = -2000.0
    weight.requires_grad_()
    out = linear_policy_loss(
        hidden,
        weight,
        torch.tensor([1, 0]),
        advantages=torch.ones(2),
        behaviour_logp=torch.tensor([-1.0, -5.7]),
        token_weights=torch.ones(2),
        loss=LossConfig(),
        impl="triton",
        **WAYS[way],
    )
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.loss, (hidden, weight)))


@EACH_WAY
def test_each_row_has_its_temperature(way: str) -> None:
    case = make_case()
    case.columns["temperature"] = torch.linspace(0.3, 2.0, len(case.targets))
    check(case, LOSSES["ppo-k2-entropy"], way)


@EACH_WAY
def test_hidden_states_need_not_be_contiguous(way: str) -> None:
    case = make_case()
    wide = torch.zeros(case.hidden.shape[1], 2 * case.hidden.shape[0])
    wide[:, ::2] = case.hidden.detach().t()
    case.hidden = wide[:, ::2].t().requires_grad_()
    check(case, LOSSES["ppo"], way)


@EACH_WAY
def test_tied_weights_get_both_gradients(way: str) -> None:
    case = make_case()
    ids = torch.arange(len(case.targets)) % case.weight.shape[0]
    arguments = case.arguments(LOSSES["ppo"])
    ways: tuple[tuple[Impl, dict[str, Any]], ...] = (("triton", WAYS[way]), ("torch", {}))
    grads = [
        torch.autograd.grad(
            linear_policy_loss(
                case.weight[ids], case.weight, case.targets, **arguments, impl=impl, **limits
            ).loss,
            case.weight,
        )[0]
        for impl, limits in ways
    ]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


@EACH_WAY
@DTYPES
def test_masked_rows_may_hold_nan_and_a_bound_on_the_rows_changes_nothing(
    dtype: torch.dtype, way: str
) -> None:
    case = make_case(dtype=dtype)
    masked = case.columns["token_weights"] == 0
    for name in ("advantages", "behaviour_logp", "reference_logp"):
        case.columns[name][masked] = float("nan")
    with torch.no_grad():
        case.hidden[masked] = float("nan")
    arguments = (case.hidden, case.weight, case.targets)
    columns: dict[str, Any] = {
        **case.arguments(LOSSES["ppo-kl"]),
        "impl": "triton",
        **WAYS[way],
    }
    counted = linear_policy_loss(*arguments, **columns)
    theirs = torch.autograd.grad(counted.loss, arguments[:2])
    assert all(grad.isfinite().all() for grad in theirs)
    for bound in (int((~masked).sum()), len(masked)):
        bounded = linear_policy_loss(*arguments, **columns, active_rows=bound)
        torch.testing.assert_close(bounded.loss, counted.loss)
        assert not bounded.logp[masked].any()
        mine = torch.autograd.grad(bounded.loss, arguments[:2])
        for ours, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(ours, other, rtol=2**-7, atol=1e-5)


def test_too_low_a_bound_on_the_rows_makes_the_loss_nan() -> None:
    case = make_case()
    out = linear_policy_loss(
        case.hidden,
        case.weight,
        case.targets,
        **case.arguments(LOSSES["ppo"]),
        active_rows=3,
        impl="triton",
    )
    assert out.loss.isnan()


@EACH_WAY
def test_a_frozen_head_a_frozen_body_and_no_gradient_at_all(way: str) -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    columns: dict[str, Any] = {
        **case.arguments(LOSSES["ppo-kl"]),
        "impl": "triton",
        **WAYS[way],
    }
    both = linear_policy_loss(*arguments, **columns)
    grads = torch.autograd.grad(both.loss, arguments[:2])
    for frozen in (0, 1):
        arguments[frozen].requires_grad_(False)
        out = linear_policy_loss(*arguments, **columns)
        (grad,) = torch.autograd.grad(out.loss, arguments[1 - frozen])
        torch.testing.assert_close(grad, grads[1 - frozen])
        arguments[frozen].requires_grad_(True)
    with torch.no_grad():
        scored = linear_policy_loss(*arguments, **columns)
    torch.testing.assert_close(scored.loss, both.loss.detach())
    torch.testing.assert_close(scored.entropy, both.entropy)


@EACH_WAY
@DTYPES
def test_the_gradient_of_the_head_may_be_added_to_a_main_gradient(
    dtype: torch.dtype, way: str
) -> None:
    case = make_case(dtype=dtype)
    arguments = (case.hidden, case.weight, case.targets)
    columns: dict[str, Any] = {
        **case.arguments(LOSSES["ppo-kl"]),
        "impl": "triton",
        **WAYS[way],
    }
    exact = torch.autograd.grad(linear_policy_loss(*arguments, **columns).loss, case.weight)[0]
    main_grad = torch.full(case.weight.shape, 2.0)
    out = linear_policy_loss(*arguments, **columns, main_grad=main_grad)
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert case.weight.grad is None
    torch.testing.assert_close(main_grad - 2.0, exact.float(), rtol=2**-7, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_metrics_are_those_of_torch(name: str) -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    mine, theirs = (
        linear_policy_loss(*arguments, **case.arguments(LOSSES[name]), impl=impl).metrics
        for impl in ("triton", "torch")
    )
    for metric, value in theirs.items():
        torch.testing.assert_close(mine[metric], value, rtol=1e-5, atol=1e-6, msg=metric)


@EACH_WAY
def test_a_repeat_is_bitwise_equal(way: str) -> None:
    case = make_case(dtype=torch.bfloat16)

    def once() -> tuple[Tensor, ...]:
        out = linear_policy_loss(
            case.hidden,
            case.weight,
            case.targets,
            **case.arguments(LOSSES["ppo-kl"]),
            impl="triton",
            **WAYS[way],
        )
        return (*torch.autograd.grad(out.loss, (case.hidden, case.weight)), out.loss, out.logp)

    assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))


def test_no_rows_and_all_rows_masked() -> None:
    case = make_case()
    case.columns["token_weights"].zero_()
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["gspo"]), impl="triton"
    )
    grads = torch.autograd.grad(out.loss, (case.hidden, case.weight))
    assert out.loss.item() == 0.0
    assert not any(grad.any() for grad in grads)
    case.columns = {name: values[:0] for name, values in case.columns.items()}
    case.columns["cu_seqlens"] = torch.zeros(1, dtype=torch.int64)
    empty = linear_policy_loss(
        case.hidden[:0],
        case.weight,
        case.targets[:0],
        **case.arguments(LOSSES["gspo"]),
        impl="triton",
    )
    assert empty.loss.item() == 0.0


def test_the_memory_budget_chooses_the_path() -> None:
    weight = torch.zeros(1000, 8, dtype=torch.bfloat16)
    loss = LOSSES["ppo"]

    def plan(budget: int, chunk: int | None = None) -> Plan:
        return Plan(
            want_hidden=True,
            want_weight=True,
            chunk_rows=chunk,
            memory_budget=budget,
            active_rows=None,
        )

    assert path.rows_at_once(8192, weight, loss, plan(2 * 8192 * 1000)) == 8192
    assert path.rows_at_once(8192, weight, loss, plan(2 * 5000 * 1000)) == 4096
    assert path.rows_at_once(8192, weight, loss, plan(2 * 1000 * 1000)) is None
    assert path.rows_at_once(8192, weight, loss, plan(1, chunk=100)) == 100
    assert path.rows_at_once(8192, weight, LOSSES["gspo"], plan(2 * 5000 * 1000)) is None
    assert path.columns_at_once(1000, weight, plan(2 * 1000 * 400)) == 384


def test_inputs_of_two_dtypes_are_for_torch() -> None:
    case = make_case()
    arguments = (case.hidden, case.weight.bfloat16(), case.targets)
    columns = case.arguments(LOSSES["ppo"])
    assert linear_policy_loss(*arguments, **columns).loss.isfinite()
    with pytest.raises(ValueError, match=r"one dtype, not torch\.float32, torch\.bfloat16"):
        linear_policy_loss(*arguments, **columns, impl="triton")
