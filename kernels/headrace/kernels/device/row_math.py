"""Row mathematics in Triton: the same losses as `headrace.kernels.losses.rows`."""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"
# Kernels are compiled from their source: annotations other than constexpr mean nothing there.

import triton
import triton.language as tl

from headrace.kernels.losses.config import LOG_RATIO_LIMIT

LIMIT = tl.constexpr(LOG_RATIO_LIMIT)


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
def row_terms(
    logp,
    entropy,
    advantage,
    behaviour,
    old,
    reference,
    sequence,
    clip_low,
    clip_high,
    dual_clip,
    tau_positive,
    tau_negative,
    weight_low,
    weight_high,
    kl_coef,
    entropy_coef,
    KIND: tl.constexpr,
    CORRECTION: tl.constexpr,
    KL: tl.constexpr,
    PROXIMAL: tl.constexpr,
):
    """(loss, dl/dlogp, clipped, dual-clipped, importance weight, reference KL) of each row.

    `sequence` is the mean log-ratio of the row's sequence (`gspo` alone reads it).
    """
    log_ratio = logp - old
    if KIND == "gspo":
        log_ratio = sequence
    ratio = bounded_exp(log_ratio)
    kept = clamp(ratio, 1.0 - clip_low, 1.0 + clip_high)
    inside = tl.abs(log_ratio) <= LIMIT
    never = tl.zeros_like(logp) != 0.0
    clipped = never
    dual_clipped = never
    if KIND == "reinforce":
        grad = -advantage
        loss = grad * logp
    elif KIND == "cispo":
        grad = -kept * advantage
        loss = grad * logp
        clipped = kept != ratio
    elif KIND == "sapo":
        tau = tl.where(advantage > 0, tau_positive, tau_negative)
        gate = 1.0 / (1.0 + tl.exp(-tau * (ratio - 1.0)))
        loss = -advantage * (4.0 / tau) * gate
        grad = tl.where(inside, -advantage * ratio * 4.0 * gate * (1.0 - gate), 0.0)
    else:
        plain = -advantage * ratio
        bound = -advantage * kept
        clipped = bound > plain
        loss = tl.where(clipped, bound, plain)
        ceiling = -dual_clip * advantage
        dual_clipped = (advantage < 0) & (loss > ceiling)
        loss = tl.where(dual_clipped, ceiling, loss)
        grad = tl.where(inside & (clipped == 0) & (dual_clipped == 0), plain, 0.0)

    importance = tl.zeros_like(logp) + 1.0
    if CORRECTION != "none":
        if KIND == "reinforce" and not PROXIMAL:
            rho = bounded_exp(logp - behaviour)
        else:
            rho = bounded_exp(old - behaviour)
        if CORRECTION == "tis":
            importance = tl.where(rho > weight_high, weight_high, rho)
        else:
            importance = tl.where((rho >= weight_low) & (rho <= weight_high), rho, 0.0)
        loss *= importance
        grad *= importance

    estimate = tl.zeros_like(logp)
    if KL != "none":
        delta = logp - reference
        if KL == "k1":
            estimate = delta
            slope = tl.zeros_like(delta) + 1.0
        elif KL == "k2":
            estimate = 0.5 * delta * delta
            slope = delta
        else:
            negative = clamp(-delta, -LIMIT, LIMIT)
            estimate = exp_tail(negative)
            slope = tl.where(tl.abs(delta) <= LIMIT, -expm1(negative), 0.0)
        if KL == "k3_unbiased":
            gap = logp - old
            weight = bounded_exp(gap)
            slope = weight * (slope + tl.where(tl.abs(gap) <= LIMIT, estimate, 0.0))
            estimate *= weight
        loss += kl_coef * estimate
        grad += kl_coef * slope
    loss -= entropy_coef * entropy
    return loss, grad, clipped, dual_clipped, importance, estimate
