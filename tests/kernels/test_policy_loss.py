"""`linear_policy_loss` against the float64 reference: forward, both gradients, memory, repeat."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from headrace.kernels import LossConfig, linear_policy_loss
from headrace.kernels.policy_loss.reference import linear_policy_loss_reference

LOSSES = {
    "reinforce-tis": LossConfig(kind="reinforce", tis_cap=2.0),
    "ppo": LossConfig(clip_high=0.28, dual_clip=3.0),
    "ppo-kl": LossConfig(kl_coef=0.04),
}
# Relative Frobenius error. Computation is fp32 whatever the inputs; with bf16 inputs each gradient
# is rounded to bf16 once at the end: at most the unit roundoff, 2^-8.
GRADIENT_ERROR = {torch.float32: 4e-6, torch.bfloat16: 2**-8}


@dataclass
class Case:
    hidden: Tensor
    weight: Tensor
    targets: Tensor
    columns: dict[str, Any]


def make_case(
    n: int = 37,
    h: int = 24,
    v: int = 101,
    *,
    dtype: torch.dtype = torch.float32,
    logit_scale: float = 3.0,
    seed: int = 0,
) -> Case:
    """Realistic logits: of standard deviation `logit_scale`, targets drawn from the softmax."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, h, generator=g)
    weight = torch.randn(v, h, generator=g) * logit_scale / h**0.5
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    logits = hidden.double() @ weight.double().t()
    targets = torch.multinomial(torch.softmax(logits, -1), 1, generator=g)[:, 0]
    targets[-1] = v - 1  # the last column
    logp = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0].float()
    advantages = torch.randn(n, generator=g)
    advantages[::5] = 0.0
    token_weights = torch.rand(n, generator=g) / n
    token_weights[1::7] = 0.0
    return Case(
        hidden=hidden.requires_grad_(),
        weight=weight.requires_grad_(),
        targets=targets,
        columns={
            "advantages": advantages,
            "behaviour_logp": logp + 0.3 * torch.randn(n, generator=g),
            "token_weights": token_weights,
            "reference_logp": logp + 0.2 * torch.randn(n, generator=g),
        },
    )


def assert_matches_reference(case: Case, loss: LossConfig, chunk_rows: int | None = 8) -> None:
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.columns, loss=loss, chunk_rows=chunk_rows
    )
    # Double copies, so that the reference's gradients stay float64.
    hidden = case.hidden.detach().double().requires_grad_()
    weight = case.weight.detach().double().requires_grad_()
    expected, logp, entropy = linear_policy_loss_reference(
        hidden, weight, case.targets, **case.columns, loss=loss
    )
    scale = max(1.0, float(logp.detach().abs().max()))
    torch.testing.assert_close(out.logp.double(), logp.detach(), rtol=0, atol=1e-6 * scale)
    torch.testing.assert_close(out.entropy.double(), entropy.detach(), rtol=0, atol=1e-5 * scale)
    torch.testing.assert_close(out.loss.double(), expected, rtol=1e-5, atol=1e-6 * scale)
    ours = torch.autograd.grad(out.loss, (case.hidden, case.weight))
    theirs = torch.autograd.grad(expected, (hidden, weight))
    for name, mine, exact in zip(("hidden", "weight"), ours, theirs, strict=True):
        assert mine.dtype == case.hidden.dtype
        error = float((mine.double() - exact).norm() / exact.norm().clamp(min=1e-30))
        assert error <= GRADIENT_ERROR[case.hidden.dtype], f"gradient of {name}: {error:.2e}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", LOSSES)
def test_forward_and_gradients_match_float64(name: str, dtype: torch.dtype) -> None:
    assert_matches_reference(make_case(dtype=dtype), LOSSES[name])


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
            case.hidden, case.weight, case.targets, **case.columns, loss=LOSSES["ppo"]
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
        case.weight[ids], case.weight, case.targets, **case.columns, loss=LOSSES["ppo"]
    )
    double = case.weight.detach().double().requires_grad_()
    expected, _, _ = linear_policy_loss_reference(
        double[ids], double, case.targets, **case.columns, loss=LOSSES["ppo"]
    )
    (mine,) = torch.autograd.grad(out.loss, case.weight)
    (exact,) = torch.autograd.grad(expected, double)
    torch.testing.assert_close(mine.double(), exact, rtol=1e-4, atol=1e-7)


def test_the_upstream_gradient_scales_ours() -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    once = linear_policy_loss(*arguments, **case.columns, loss=LOSSES["ppo"]).loss
    thrice = 3.0 * linear_policy_loss(*arguments, **case.columns, loss=LOSSES["ppo"]).loss
    (plain,) = torch.autograd.grad(once, case.hidden)
    (scaled,) = torch.autograd.grad(thrice, case.hidden)
    torch.testing.assert_close(scaled, 3.0 * plain)


def test_masked_rows_change_nothing_even_when_they_hold_nan() -> None:
    case = make_case()
    masked = case.columns["token_weights"] == 0
    arguments = (case.weight, case.targets)
    clean = linear_policy_loss(case.hidden, *arguments, **case.columns, loss=LOSSES["ppo-kl"])
    for name in ("advantages", "behaviour_logp", "reference_logp"):
        case.columns[name][masked] = float("nan")
    dirty_hidden = case.hidden.detach().clone()
    dirty_hidden[masked] = float("nan")
    dirty_hidden.requires_grad_()
    dirty = linear_policy_loss(dirty_hidden, *arguments, **case.columns, loss=LOSSES["ppo-kl"])
    assert torch.equal(clean.loss, dirty.loss)
    inputs = torch.autograd.grad(clean.loss, (case.hidden, case.weight))
    others = torch.autograd.grad(dirty.loss, (dirty_hidden, case.weight))
    assert all(torch.equal(a, b) for a, b in zip(inputs, others, strict=True))


def test_all_rows_masked_give_zero_and_no_gradient() -> None:
    case = make_case()
    case.columns["token_weights"].zero_()
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.columns, loss=LOSSES["ppo-kl"]
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
    columns = {name: values[:0] for name, values in case.columns.items()}
    out = linear_policy_loss(
        case.hidden[:0], case.weight, case.targets[:0], **columns, loss=LOSSES["ppo"]
    )
    assert out.loss.item() == 0.0


def test_a_frozen_head_gets_no_gradient() -> None:
    case = make_case()
    case.weight.requires_grad_(False)
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.columns, loss=LOSSES["ppo"]
    )
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert case.weight.grad is None
    assert case.hidden.grad is not None


def test_without_grad_mode_the_loss_is_the_same() -> None:
    case = make_case()
    arguments = (case.hidden, case.weight, case.targets)
    trained = linear_policy_loss(*arguments, **case.columns, loss=LOSSES["ppo-kl"])
    with torch.no_grad():
        scored = linear_policy_loss(*arguments, **case.columns, loss=LOSSES["ppo-kl"])
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
            **case.columns,
            loss=LOSSES["ppo-kl"],
            chunk_rows=chunk_rows,
        ).loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    assert largest.elements <= chunk_rows * v


def test_rows_without_advantage_cost_no_gradient_work(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    case.columns["advantages"].zero_()
    monkeypatch.setattr("headrace.kernels.policy_loss.torch._logit_gradient", None)
    out = linear_policy_loss(
        case.hidden, case.weight, case.targets, **case.columns, loss=LOSSES["ppo"]
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
            case.hidden, case.weight, case.targets, **case.columns, loss=LOSSES["ppo-kl"]
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
    ],
)
def test_inputs_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    case = make_case(n=3)
    arguments: dict[str, Any] = {
        "hidden": case.hidden,
        "weight": case.weight,
        "targets": case.targets,
        **case.columns,
        "loss": LOSSES["ppo"],
    }
    with pytest.raises(ValueError, match=message):
        linear_policy_loss(**{**arguments, **change})
