"""Row mathematics: known answers, and the closed-form derivative against autograd."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from headrace.kernels import LossConfig, policy_metrics, row_loss
from headrace.kernels.losses.config import decode
from headrace.kernels.losses.reference import row_loss_reference
from tests.kernels.cases import LOSSES

CONFIGS = {
    **LOSSES,
    "reinforce": LossConfig(kind="reinforce"),
    "ppo-symmetric": LossConfig(),
    "dapo": LossConfig(clip_low=0.2, clip_high=0.28),
    "decoupled-whole": LossConfig(tis_cap=math.inf),
    "sapo-kl": LossConfig(kind="sapo", sapo_tau_positive=0.7, kl_coef=0.1),
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
def test_loss_and_derivative_are_those_of_the_float64_reference(name: str) -> None:
    loss = CONFIGS[name]
    generator = torch.Generator().manual_seed(7)

    def draw(scale: float) -> Tensor:
        return scale * torch.randn(500, generator=generator, dtype=torch.float64)

    logp = (draw(1.0) - 4).requires_grad_()
    entropy = draw(1.0).requires_grad_()
    # A few rows far outside: the clamp's flat part has derivative zero as well.
    behaviour = logp.detach() + draw(0.5) + 30.0 * (torch.arange(500) % 50 == 0)
    decoupled = loss.correction != "none" and loss.kind != "reinforce"
    arguments: dict[str, Any] = {
        "advantages": draw(1.0),
        "behaviour_logp": behaviour,
        "loss": loss,
        "reference_logp": logp.detach() + draw(0.3) + 30.0 * (torch.arange(500) % 70 == 1),
        "proximal_logp": behaviour + draw(0.2) if decoupled else None,
        "cu_seqlens": torch.tensor([0, 7, 7, 130, 131, 480]),
        "mask": torch.arange(500) % 3 != 0,
        "entropy": entropy,
    }
    rows = row_loss(logp, **arguments)
    exact = row_loss_reference(logp, **arguments)
    inside = torch.arange(500) < 480 if loss.needs_sequences else torch.arange(500) >= 0
    torch.testing.assert_close(rows.loss[inside], exact[inside], rtol=1e-12, atol=1e-12)
    expected = torch.autograd.grad(exact[inside].sum(), (logp, entropy), allow_unused=True)
    ours = torch.autograd.grad(rows.loss[inside].sum(), (logp, entropy), allow_unused=True)
    assert expected[0] is not None
    torch.testing.assert_close(ours[0], expected[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        rows.grad[inside].detach(), expected[0][inside], rtol=1e-12, atol=1e-12
    )
    if loss.entropy_coef > 0.0:
        assert expected[1] is not None
        torch.testing.assert_close(ours[1], expected[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_survives_its_encoding(name: str) -> None:
    assert decode(*CONFIGS[name].encode()) == CONFIGS[name]


def test_gspo_gives_the_known_ratio_to_every_token_of_the_sequence() -> None:
    rows = row_loss(
        f64(-1.0 + 0.01, -2.0 - 0.02, -3.0 + 0.03, -9.0),
        advantages=f64(1.0, 1.0, 1.0, 1.0),
        behaviour_logp=f64(-1.0, -2.0, -3.0, -1.0),
        loss=LossConfig(kind="gspo", clip_low=0.1, clip_high=0.1),
        cu_seqlens=torch.tensor([0, 4]),
        mask=torch.tensor([True, True, True, False]),
    )
    assert rows.loss[:3].tolist() == pytest.approx([-1.00668894] * 3, abs=1e-8)
    assert rows.grad[:3].tolist() == pytest.approx([-1.00668894] * 3, abs=1e-8)


def test_gspo_with_the_sequence_mean_has_the_gradient_of_its_sequence_loss() -> None:
    """Token weights 1/|o| and the token's derivative give d/dlogp of max(-A·s, -A·clip(s))."""
    logp = f64(-1.0, -2.0, -3.0, -1.5, -2.5).requires_grad_()
    old = f64(-1.1, -1.9, -3.05, -1.5, -2.4)
    loss = LossConfig(kind="gspo", clip_low=0.2, clip_high=0.2)
    rows = row_loss(
        logp,
        advantages=f64(1.0, 1.0, 1.0, -2.0, -2.0),
        behaviour_logp=old,
        loss=loss,
        cu_seqlens=torch.tensor([0, 3, 5]),
    )
    (mine,) = torch.autograd.grad((rows.loss * f64(1 / 3, 1 / 3, 1 / 3, 0.5, 0.5)).sum(), logp)
    first, second = (logp - old)[:3].mean().exp(), (logp - old)[3:].mean().exp()
    (exact,) = torch.autograd.grad(-first + 2.0 * second, logp)
    torch.testing.assert_close(mine, exact)


def test_cispo_bounds_the_weight_and_keeps_the_gradient() -> None:
    rows = row_loss(
        f64(math.log(6.0)),
        advantages=f64(1.0),
        behaviour_logp=f64(0.0),
        loss=LossConfig(kind="cispo", clip_low=1.0, clip_high=4.0),
    )
    assert rows.grad.item() == pytest.approx(-5.0)
    assert rows.clipped.item()


@pytest.mark.parametrize(("rho", "weight"), [(0.3, 0.0), (1.0, 1.0), (2.5, 0.0)])
def test_a_masked_importance_weight_drops_what_lies_outside(rho: float, weight: float) -> None:
    rows = row_loss(
        f64(-1.0),
        advantages=f64(1.0),
        behaviour_logp=f64(-1.0 - math.log(rho)),
        loss=LossConfig(kind="reinforce", mis_bounds=(0.5, 2.0)),
    )
    assert rows.grad.item() == pytest.approx(-weight)
    assert rows.importance.item() == pytest.approx(weight)


@pytest.mark.parametrize(
    ("kind", "value", "slope"),
    [("k1", 0.1, 1.0), ("k2", 0.005, 0.1), ("k3", 0.00483742, 0.0951626)],
)
def test_each_kl_estimator_gives_its_known_answer(kind: Any, value: float, slope: float) -> None:
    rows = row_loss(
        f64(-2.0),
        advantages=f64(0.0),
        behaviour_logp=f64(-2.0),
        loss=LossConfig(kl_coef=1.0, kl_kind=kind),
        reference_logp=f64(-2.1),
    )
    assert rows.reference_kl.item() == pytest.approx(value, abs=1e-8)
    assert rows.grad.item() == pytest.approx(slope, abs=1e-7)


def test_the_unbiased_kl_weighs_by_the_ratio_and_pulls_with_ratio_times_difference() -> None:
    rows = row_loss(
        f64(-2.0),
        advantages=f64(0.0),
        behaviour_logp=f64(-2.0 - math.log(1.5)),
        loss=LossConfig(kl_coef=1.0, kl_kind="k3_unbiased"),
        reference_logp=f64(-2.1),
    )
    assert rows.reference_kl.item() == pytest.approx(1.5 * 0.00483742, abs=1e-8)
    assert rows.grad.item() == pytest.approx(1.5 * 0.1, abs=1e-9)


def test_decoupled_ppo_clips_against_the_proximal_policy_and_weighs_against_the_behaviour() -> None:
    rows = row_loss(
        f64(math.log(1.5)),
        advantages=f64(1.0),
        proximal_logp=f64(0.0),
        behaviour_logp=f64(-math.log(3.0)),
        loss=LossConfig(tis_cap=2.0),
    )
    assert rows.loss.item() == pytest.approx(-2.0 * 1.2)
    assert rows.grad.item() == 0.0


def test_metrics_ignore_masked_rows_even_when_they_hold_nan() -> None:
    logp = f64(-1.0, -2.0, float("nan"))
    behaviour = f64(-1.0, -2.0 - math.log(3.0), -1.0)
    metrics = policy_metrics(
        row_loss(logp, advantages=f64(1.0, 1.0, 1.0), behaviour_logp=behaviour, loss=LossConfig()),
        logp,
        entropy=f64(1.0, 3.0, float("nan")),
        behaviour_logp=behaviour,
        token_weights=f64(1.0, 0.5, 0.0),
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
        row_loss(nothing, advantages=nothing, behaviour_logp=nothing, loss=LossConfig()),
        nothing,
        entropy=nothing,
        behaviour_logp=nothing,
        token_weights=nothing,
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
        ("kl_kind", "k4"),
        ("entropy_coef", -1.0),
        ("mis_bounds", (2.0, 0.5)),
        ("sapo_tau_negative", 0.0),
    ],
)
def test_a_bad_setting_is_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="kind" if field == "kind" else field):
        LossConfig(**{field: value})  # type: ignore[arg-type]  # wrong on purpose


def test_settings_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="tis_cap and mis_bounds"):
        LossConfig(tis_cap=2.0, mis_bounds=(0.5, 2.0))
    with pytest.raises(ValueError, match="dual_clip"):
        LossConfig(kind="cispo", dual_clip=3.0)


@pytest.mark.parametrize(
    ("loss", "missing"),
    [
        (LossConfig(kl_coef=0.1), "reference_logp"),
        (LossConfig(tis_cap=2.0), "proximal_logp"),
        (LossConfig(kind="sapo", mis_bounds=(0.5, 2.0)), "proximal_logp"),
        (LossConfig(entropy_coef=0.1), "entropy"),
        (LossConfig(kind="gspo"), "cu_seqlens"),
    ],
)
def test_log_probabilities_that_the_loss_needs_must_be_given(
    loss: LossConfig, missing: str
) -> None:
    with pytest.raises(ValueError, match=missing):
        row_loss(f64(0), advantages=f64(1), behaviour_logp=f64(0), loss=loss)
