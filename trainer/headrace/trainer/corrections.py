"""Weights of whole calls for the gap between the behaviour and the proximal policy.

Weights of single tokens are the kernels' (`LossConfig.tis_cap`, `mis_bounds`); what takes a call
together is here. ρ = proximal ÷ behaviour, held constant; a call's tokens are one sequence.
(Formulas: rollout correction of verl, arXiv 2510.18855, 2512.02556.)
"""

import torch
from torch import Tensor

from headrace.kernels import segment_means, segment_sums
from headrace.trainer.algorithms import AlgorithmConfig

LIMIT = 20.0
"""Log-ratios are clamped to ± this before `exp`, as in the kernels."""


def call_weights(
    proximal_logp: Tensor, behaviour_logp: Tensor, bounds: Tensor, algorithm: AlgorithmConfig
) -> tuple[Tensor, Tensor]:
    """What the tokens weigh for their calls' sake before and after the cap, [M] each.

    Ones where weights are the tokens' own. `bounds` [calls + 1].
    """
    ones = torch.ones_like(proximal_logp)
    if algorithm.correction_level == "token" or algorithm.correction in ("ratio", "none"):
        return ones, ones
    reduced = segment_sums if algorithm.correction_level == "sequence" else segment_means
    log_ratio = reduced(proximal_logp - behaviour_logp, bounds)
    ratio = _spread(log_ratio.clamp(-LIMIT, LIMIT).exp(), bounds, ones.shape[0])
    return ratio, capped(ratio, algorithm)


def capped(ratio: Tensor, algorithm: AlgorithmConfig) -> Tensor:
    """The weight that a ratio becomes."""
    if algorithm.correction == "tis":
        return ratio.clamp(max=algorithm.tis_cap)
    if algorithm.correction == "mis":
        low, high = algorithm.mis_bounds
        return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)
    return ratio


def kept(
    proximal_logp: Tensor, behaviour_logp: Tensor, bounds: Tensor, algorithm: AlgorithmConfig
) -> Tensor:
    """Whether the tokens' calls are kept, bool [M].

    `geometric`: exp(mean log ρ) within the bounds. `k2`: mean ½·log²ρ, `k3`: mean (ρ - 1 - log ρ),
    an estimate of KL(behaviour ‖ proximal), at most the upper one.
    """
    log_ratio = (proximal_logp - behaviour_logp).clamp(-LIMIT, LIMIT)
    if algorithm.reject == "none":
        return torch.ones_like(log_ratio, dtype=torch.bool)
    low, high = algorithm.reject_bounds
    if algorithm.reject == "geometric":
        measure = segment_means(log_ratio, bounds).exp()
    elif algorithm.reject == "k2":
        measure = segment_means(log_ratio.square() / 2, bounds)
    else:
        measure = segment_means(torch.expm1(log_ratio) - log_ratio, bounds)
    return _spread((measure >= low) & (measure <= high), bounds, log_ratio.shape[0])


def _spread(values: Tensor, bounds: Tensor, rows: int) -> Tensor:
    """Each call's value for each of its tokens; `rows`, their number, spares a wait for the GPU."""
    return values.repeat_interleave(bounds.diff(), output_size=rows)
