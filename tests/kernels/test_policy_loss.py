"""`linear_policy_loss` against the float64 reference: forward, both gradients, memory, repeat."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from headrace.kernels import linear_policy_loss
from headrace.kernels.linear_loss.reference import linear_policy_loss_reference
from tests.kernels.cases import LOSSES, assert_matches_reference, make_case, whole_sequences


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", LOSSES)
def test_forward_and_gradients_match_float64(name: str, dtype: torch.dtype) -> None:
    assert_matches_reference(make_case(dtype=dtype), LOSSES[name])


@pytest.mark.parametrize("name", ["gspo", "gspo-all"])
def test_whole_sequences_match_float64(name: str) -> None:
    case = make_case()
    whole_sequences(case)
    assert_matches_reference(case, LOSSES[name])


@pytest.mark.parametrize("logit_scale", [1.0, 3.0, 6.0, 10.0])
def test_peaked_and_flat_distributions_match_float64(logit_scale: float) -> None:
    assert_matches_reference(make_case(n=64, v=500, logit_scale=logit_scale), LOSSES["ppo-kl"])


@pytest.mark.parametrize(
    ("n", "h", "v", "chunk_rows"),
    [(1, 8, 11, None), (1, 8, 11, 1), (129, 16, 33, 128), (5, 3, 2, 2), (9, 8, 8200, 4)],
    ids=["one-row", "one-row-chunk", "row-tail", "two-tokens", "vocabulary-tail"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_awkward_sizes(n: int, h: int, v: int, chunk_rows: int | None, dtype: torch.dtype) -> None:
    case = make_case(n, h, v, dtype=dtype)
    case.columns["token_weights"][0] = 1.0
    case.columns["advantages"][0] = -0.7
    assert_matches_reference(case, LOSSES["ppo-kl"], chunk_rows)


def test_huge_logits_stay_finite_and_right() -> None:
    case = make_case(n=16, v=50)
    with torch.no_grad():
        case.weight.mul_(80.0 / (case.hidden @ case.weight.t()).abs().max())
        case.columns["behaviour_logp"] = linear_policy_loss(
            case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo"])
        ).logp
    assert_matches_reference(case, LOSSES["ppo"])


def test_each_row_has_its_temperature() -> None:
    case = make_case()
    case.columns["temperature"] = torch.linspace(0.3, 2.0, len(case.targets))
    assert_matches_reference(case, LOSSES["ppo-kl"])


def test_one_temperature_for_all_rows() -> None:
    case = make_case()
    case.columns["temperature"] = 0.7
    assert_matches_reference(case, LOSSES["ppo"])


def test_hidden_states_need_not_be_contiguous() -> None:
    case = make_case()
    wide = torch.zeros(case.hidden.shape[1], 2 * case.hidden.shape[0])
    wide[:, ::2] = case.hidden.detach().t()
    case.hidden = wide[:, ::2].t().requires_grad_()
    assert not case.hidden.is_contiguous()
    assert_matches_reference(case, LOSSES["ppo"])


def test_tied_weights_get_both_gradients() -> None:
    case = make_case()
    ids = torch.arange(len(case.targets)) % case.weight.shape[0]
    out = linear_policy_loss(
        case.weight[ids], case.weight, case.targets, **case.arguments(LOSSES["ppo"])
    )
    double = case.weight.detach().double().requires_grad_()
    expected, _, _ = linear_policy_loss_reference(
        double[ids], double, case.targets, **case.arguments(LOSSES["ppo"])
    )
    (mine,) = torch.autograd.grad(out.loss, case.weight)
    (exact,) = torch.autograd.grad(expected, double)
    torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-7)


def test_the_upstream_gradient_scales_ours() -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    once = linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo"])).loss
    thrice = 3.0 * linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo"])).loss
    (plain,) = torch.autograd.grad(once, case.hidden)
    (scaled,) = torch.autograd.grad(thrice, case.hidden)
    torch.testing.assert_close(scaled, 3.0 * plain)


def test_masked_rows_change_nothing_even_when_they_hold_nan() -> None:
    case = make_case()
    masked = case.columns["token_weights"] == 0
    arguments = (case.weight, case.targets)
    clean = linear_policy_loss(case.hidden, *arguments, **case.arguments(LOSSES["ppo-kl"]))
    for name in ("advantages", "behaviour_logp", "reference_logp"):
        case.columns[name][masked] = float("nan")
    dirty_hidden = case.hidden.detach().clone()
    dirty_hidden[masked] = float("nan")
    dirty_hidden.requires_grad_()
    dirty = linear_policy_loss(dirty_hidden, *arguments, **case.arguments(LOSSES["ppo-kl"]))
    assert torch.equal(clean.loss, dirty.loss)
    inputs = torch.autograd.grad(clean.loss, (case.hidden, case.weight))
    others = torch.autograd.grad(dirty.loss, (dirty_hidden, case.weight))
    assert all(torch.equal(a, b) for a, b in zip(inputs, others, strict=True))


def test_all_rows_masked_give_zero_and_no_gradient() -> None:
    case = make_case()
    case.columns["token_weights"].zero_()
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo-kl"])
    )
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert out.loss.item() == 0.0
    assert case.hidden.grad is not None
    assert case.weight.grad is not None
    assert not case.hidden.grad.any()
    assert not case.weight.grad.any()
    assert out.logp.isfinite().all()


def test_no_rows_at_all() -> None:
    case = make_case()
    case.columns = {name: values[:0] for name, values in case.columns.items()}
    case.columns["cu_seqlens"] = torch.zeros(1, dtype=torch.int64)
    for loss in LOSSES.values():
        out = linear_policy_loss(
            case.hidden[:0], case.weight, case.targets[:0], **case.arguments(loss)
        )
        assert out.loss.item() == 0.0


def test_a_frozen_head_gets_no_gradient() -> None:
    case = make_case()
    case.weight.requires_grad_(False)
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo"])
    )
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert case.weight.grad is None
    assert case.hidden.grad is not None


@pytest.mark.parametrize("name", ["ppo", "gspo-all"])
def test_a_bound_on_the_rows_changes_nothing(name: str) -> None:
    case = make_case()
    masked = case.columns["token_weights"] == 0
    with torch.no_grad():
        case.hidden[masked] = float("nan")
    arguments = (case.hidden, case.weight, case.targets)
    counted = linear_policy_loss(*arguments, **case.arguments(LOSSES[name]))
    theirs = torch.autograd.grad(counted.loss, arguments[:2])
    for bound in (int((~masked).sum()), len(masked)):
        bounded = linear_policy_loss(
            *arguments, **case.arguments(LOSSES[name]), active_rows=bound, chunk_rows=8
        )
        torch.testing.assert_close(bounded.loss, counted.loss)
        mine = torch.autograd.grad(bounded.loss, arguments[:2])
        for ours, other in zip(mine, theirs, strict=True):
            torch.testing.assert_close(ours, other)


def test_too_low_a_bound_on_the_rows_makes_the_loss_nan() -> None:
    case = make_case()
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo"]), active_rows=3
    )
    assert out.loss.isnan()


def test_the_gradient_of_the_head_may_be_added_to_a_main_gradient() -> None:
    case = make_case(dtype=torch.bfloat16)
    arguments = (case.hidden, case.weight, case.targets)
    out = linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo-kl"]))
    grad_hidden, grad_weight = torch.autograd.grad(out.loss, arguments[:2])
    main_grad = torch.full(case.weight.shape, 2.0)
    added = linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo-kl"]), main_grad=main_grad)
    added.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert case.weight.grad is None
    assert case.hidden.grad is not None
    assert torch.equal(case.hidden.grad, grad_hidden)
    torch.testing.assert_close(main_grad - 2.0, grad_weight.float(), rtol=2**-8, atol=1e-6)


def test_without_grad_mode_the_loss_is_the_same() -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    trained = linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo-kl"]))
    with torch.no_grad():
        scored = linear_policy_loss(*arguments, **case.arguments(LOSSES["ppo-kl"]))
    torch.testing.assert_close(scored.loss, trained.loss.detach())
    assert not scored.loss.requires_grad


class LargestTensor(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Records the most elements of any tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_no_tensor_of_all_logits_is_made(dtype: torch.dtype) -> None:
    n, h, v, chunk_rows = 200, 8, 400, 16
    case = make_case(n, h, v, dtype=dtype)
    with LargestTensor() as largest:
        linear_policy_loss(
            case.hidden,
            case.weight,
            case.targets,
            **case.arguments(LOSSES["ppo-kl"]),
            chunk_rows=chunk_rows,
        ).loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert largest.elements <= chunk_rows * v


def test_rows_without_advantage_cost_no_gradient_work(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    case.columns["advantages"].zero_()
    monkeypatch.setattr("headrace.kernels.linear_loss.torch._add_gradients", None)
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo"])
    )
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert out.loss.item() == 0.0
    assert case.weight.grad is not None
    assert not case.weight.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_repeat_is_bitwise_equal(dtype: torch.dtype) -> None:
    case = make_case(dtype=dtype)

    def once() -> tuple[Tensor, ...]:
        out = linear_policy_loss(
            case.hidden, case.weight, case.targets, **case.arguments(LOSSES["ppo-kl"])
        )
        return (*torch.autograd.grad(out.loss, (case.hidden, case.weight)), out.loss, out.logp)

    assert all(torch.equal(a, b) for a, b in zip(once(), once(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": torch.tensor([0, 1, 200])}, "vocabulary"),
        ({"targets": torch.tensor([0, 1, -1])}, "vocabulary"),
        ({"targets": torch.tensor([0, 1])}, "targets"),
        ({"targets": torch.tensor([0.0, 1.0, 2.0])}, "int64"),
        ({"advantages": torch.zeros(4)}, "advantages"),
        ({"temperature": torch.ones(2)}, "temperature"),
        ({"temperature": 0.0}, "temperature"),
        ({"weight": torch.zeros(101, 5)}, "weight"),
        ({"chunk_rows": 0}, "chunk_rows"),
        ({"impl": "cuda"}, "impl"),
        ({"active_rows": 4}, "active_rows"),
        ({"memory_budget": 0}, "memory_budget"),
        ({"main_grad": torch.zeros(101, 24, dtype=torch.bfloat16)}, "main_grad"),
        ({"loss": LOSSES["gspo"], "cu_seqlens": None}, "cu_seqlens"),
        ({"loss": LOSSES["gspo"], "cu_seqlens": torch.tensor([0.0, 3.0])}, "cu_seqlens"),
        ({"loss": LOSSES["decoupled-masked"]}, "mis_bounds"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    case = make_case(n=3)
    arguments: dict[str, Any] = {
        "hidden": case.hidden,
        "weight": case.weight,
        "targets": case.targets,
        **case.arguments(LOSSES["ppo"]),
    }
    with pytest.raises(ValueError, match=message):
        linear_policy_loss(**{**arguments, **change})
