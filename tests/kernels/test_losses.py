"""Row mathematics: known answers, and the closed-form derivative against autograd."""

import math

import pytest
import torch
from torch import Tensor

from headrace.kernels import LossConfig, policy_metrics, row_loss

CONFIGS = {
    "reinforce": LossConfig(kind="reinforce"),
    "reinforce-tis": LossConfig(kind="reinforce", tis_cap=2.0),
    "ppo": LossConfig(),
    "ppo-asymmetric": LossConfig(clip_low=0.2, clip_high=0.28),
    "ppo-dual": LossConfig(dual_clip=3.0),
    "ppo-kl": LossConfig(kl_coef=0.04),
    "ppo-tis": LossConfig(tis_cap=2.0, dual_clip=3.0, kl_coef=0.1),
}


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def at_ratio(ratio: float, advantage: float, loss: LossConfig) -> float:
    rows = row_loss(
        f64(math.log(ratio)), advantages=f64(advantage), behaviour_logp=f64(0), loss=loss
    )
    return rows.loss.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [(1.5, 1, -1.2), (0.5, 1, -0.5), (1.5, -1, 1.5), (0.5, -1, 0.8), (5, -1, 3)],
)
def test_ppo_gives_the_known_answers(ratio: float, advantage: float, expected: float) -> None:
    loss = LossConfig(clip_low=0.2, clip_high=0.2, dual_clip=3.0)
    assert at_ratio(ratio, advantage, loss) == pytest.approx(expected)


def test_the_upper_clip_may_be_wider() -> None:
    assert at_ratio(1.5, 1, LossConfig(clip_low=0.2, clip_high=0.28)) == pytest.approx(-1.28)


@pytest.mark.parametrize(("rho", "weight"), [(0.3, 0.3), (1.0, 1.0), (2.5, 2.0)])
def test_tis_truncates_the_importance_weight(rho: float, weight: float) -> None:
    rows = row_loss(
        f64(-1.0),
        advantages=f64(1.0),
        behaviour_logp=f64(-1.0 - math.log(rho)),
        loss=LossConfig(kind="reinforce", tis_cap=2.0),
    )
    assert rows.grad.item() == pytest.approx(-weight)


@pytest.mark.parametrize(
    ("delta", "k3"), [(0.1, 0.00483742), (-0.1, 0.00517092), (1.0, 0.36787944)]
)
def test_k3_gives_the_known_answers(delta: float, k3: float) -> None:
    rows = row_loss(
        f64(-2.0),
        advantages=f64(0.0),
        behaviour_logp=f64(-2.0),
        loss=LossConfig(kl_coef=0.5),
        reference_logp=f64(-2.0 - delta),
    )
    assert rows.reference_kl.item() == pytest.approx(k3, abs=1e-8)
    assert rows.loss.item() == pytest.approx(0.5 * k3, abs=1e-8)
    assert rows.grad.item() == pytest.approx(0.5 * (1 - math.exp(-delta)))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_derivative_is_that_of_the_loss(name: str) -> None:
    loss = CONFIGS[name]
    generator = torch.Generator().manual_seed(7)

    def draw(scale: float) -> Tensor:
        return scale * torch.randn(500, generator=generator, dtype=torch.float64)

    logp = (draw(1.0) - 4).requires_grad_()
    # A few rows far outside: the clamp's flat part has derivative zero as well.
    behaviour = logp.detach() + draw(0.5) + 30.0 * (torch.arange(500) % 50 == 0)
    rows = row_loss(
        logp,
        advantages=draw(1.0),
        behaviour_logp=behaviour,
        loss=loss,
        reference_logp=logp.detach() + draw(0.3),
        proximal_logp=behaviour + draw(0.2) if loss.tis_cap and loss.kind == "ppo" else None,
    )
    (expected,) = torch.autograd.grad(rows.loss.sum(), logp)
    torch.testing.assert_close(rows.grad.detach(), expected, rtol=1e-12, atol=1e-12)


def test_metrics_ignore_masked_rows_even_when_they_hold_nan() -> None:
    logp = f64(-1.0, -2.0, float("nan"))
    metrics = policy_metrics(
        logp,
        entropy=f64(1.0, 3.0, float("nan")),
        advantages=f64(1.0, 1.0, 1.0),
        behaviour_logp=f64(-1.0, -2.0 - math.log(3.0), -1.0),
        token_weights=f64(1.0, 0.5, 0.0),
        loss=LossConfig(),
    )
    values = {name: value.item() for name, value in metrics.items()}
    assert values["clip_fraction"] == 0.5
    assert values["kl_k1"] == pytest.approx(-math.log(3.0) / 2)
    assert values["kl_k3"] == pytest.approx((3 - 1 - math.log(3.0)) / 2)
    assert values["ess"] == pytest.approx(16 / (2 * 10))
    assert values["max_ratio"] == pytest.approx(3.0)
    assert values["entropy"] == pytest.approx(2.0)


def test_metrics_of_no_rows_are_zero() -> None:
    nothing = f64()
    metrics = policy_metrics(
        nothing,
        entropy=nothing,
        advantages=nothing,
        behaviour_logp=nothing,
        token_weights=nothing,
        loss=LossConfig(),
    )
    assert {value.item() for value in metrics.values()} == {0.0}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "gspo?"),
        ("clip_low", 1.5),
        ("clip_high", -0.1),
        ("dual_clip", 1.0),
        ("tis_cap", 0.0),
        ("kl_coef", -1.0),
    ],
)
def test_a_bad_setting_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="kind" if field == "kind" else field):
        LossConfig(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("loss", "missing"),
    [(LossConfig(kl_coef=0.1), "reference_logp"), (LossConfig(tis_cap=2.0), "proximal_logp")],
)
def test_log_probabilities_that_the_loss_needs_must_be_given(
    loss: LossConfig, missing: str
) -> None:
    with pytest.raises(ValueError, match=missing):
        row_loss(f64(0), advantages=f64(1), behaviour_logp=f64(0), loss=loss)
