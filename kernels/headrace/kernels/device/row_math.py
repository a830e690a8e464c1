"""Row mathematics in Triton: the same losses as `headrace.kernels.losses.rows`.

Records (`Row`, `Constants`, `Choices`, `Terms`) are named tuples, which Triton takes apart as it
compiles: on the device they are registers like any others.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

from typing import Any, NamedTuple

import triton
import triton.language as tl

from headrace.kernels.losses.config import LOG_RATIO_LIMIT, Choices

LIMIT = tl.constexpr(LOG_RATIO_LIMIT)


class Row(NamedTuple):
    """What a row loss reads of a row, or of a block of rows."""

    logp: Any
    entropy: Any
    advantage: Any
    behaviour: Any
    old: Any
    """Log-probability of the proximal policy."""
    reference: Any
    sequence: Any
    """Mean log-ratio of the row's sequence (`gspo` alone reads it)."""


class Terms(NamedTuple):
    """What it gives: see `headrace.kernels.losses.rows.RowLoss`."""

    loss: Any
    grad: Any
    clipped: Any
    dual_clipped: Any
    importance: Any
    reference_kl: Any


def as_constexprs(choices: Choices) -> Choices:
    """As a kernel takes them: each compiled in."""
    return Choices(*map(tl.constexpr, choices))


@triton.jit
def bounded_exp(x):
    """exp of x clamped to ± the limit of log-ratios; NaN stays NaN."""
    return tl.exp(tl.where(x > LIMIT, LIMIT, tl.where(x < -LIMIT, -LIMIT, x)))


@triton.jit
def exp_tail(x):
    """exp(x) - 1 - x without cancellation near 0 (series to x⁷: error 1e-8 of the value)."""
    series = x * x * (0.5 + x * (1 / 6 + x * (1 / 24 + x * (1 / 120 + x * (1 / 720 + x / 5040)))))
    return tl.where(tl.abs(x) < 0.25, series, tl.exp(x) - 1.0 - x)


@triton.jit
def expm1(x):
    """exp(x) - 1 without cancellation near 0."""
    return exp_tail(x) + x


@triton.jit
def clamp(x, low, high):
    return tl.where(x < low, low, tl.where(x > high, high, x))


@triton.jit
def row_terms(row, constants, choices):
    """`Terms` of a `Row`, with the `Constants` and `Choices` of a loss."""
    log_ratio = row.logp - row.old
    if choices.kind == "gspo":
        log_ratio = row.sequence
    ratio = bounded_exp(log_ratio)
    kept = clamp(ratio, 1.0 - constants.clip_low, 1.0 + constants.clip_high)
    inside = tl.abs(log_ratio) <= LIMIT
    never = tl.zeros_like(row.logp) != 0.0
    clipped = never
    dual_clipped = never
    if choices.kind == "reinforce":
        grad = -row.advantage
        loss = grad * row.logp
    elif choices.kind == "cispo":
        grad = -kept * row.advantage
        loss = grad * row.logp
        clipped = kept != ratio
    elif choices.kind == "sapo":
        tau = tl.where(row.advantage > 0, constants.tau_positive, constants.tau_negative)
        gate = 1.0 / (1.0 + tl.exp(-tau * (ratio - 1.0)))
        loss = -row.advantage * (4.0 / tau) * gate
        grad = tl.where(inside, -row.advantage * ratio * 4.0 * gate * (1.0 - gate), 0.0)
    else:
        plain = -row.advantage * ratio
        bound = -row.advantage * kept
        clipped = bound > plain
        loss = tl.where(clipped, bound, plain)
        ceiling = -constants.dual_clip * row.advantage
        dual_clipped = (row.advantage < 0) & (loss > ceiling)
        loss = tl.where(dual_clipped, ceiling, loss)
        grad = tl.where(inside & (clipped == 0) & (dual_clipped == 0), plain, 0.0)

    importance = tl.zeros_like(row.logp) + 1.0
    if choices.correction != "none":
        if choices.kind == "reinforce" and not choices.proximal:
            rho = bounded_exp(row.logp - row.behaviour)
        else:
            rho = bounded_exp(row.old - row.behaviour)
        if choices.correction == "tis":
            importance = tl.where(rho > constants.weight_high, constants.weight_high, rho)
        else:
            importance = tl.where(
                (rho >= constants.weight_low) & (rho <= constants.weight_high), rho, 0.0
            )
        loss *= importance
        grad *= importance

    estimate = tl.zeros_like(row.logp)
    if choices.kl != "none":
        delta = row.logp - row.reference
        if choices.kl == "k1":
            estimate = delta
            slope = tl.zeros_like(delta) + 1.0
        elif choices.kl == "k2":
            estimate = 0.5 * delta * delta
            slope = delta
        else:
            negative = clamp(-delta, -LIMIT, LIMIT)
            estimate = exp_tail(negative)
            slope = tl.where(tl.abs(delta) <= LIMIT, -expm1(negative), 0.0)
        if choices.kl == "k3_unbiased":
            gap = row.logp - row.old
            weight = bounded_exp(gap)
            slope = weight * (slope + tl.where(tl.abs(gap) <= LIMIT, estimate, 0.0))
            estimate *= weight
        loss += constants.kl_coef * estimate
        grad += constants.kl_coef * slope
    loss -= constants.entropy_coef * row.entropy
    return Terms(
        loss=loss,
        grad=grad,
        clipped=clipped,
        dual_clipped=dual_clipped,
        importance=importance,
        reference_kl=estimate,
    )
