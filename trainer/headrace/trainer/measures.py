"""What a step saw: its metrics, and those of each version lag."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from headrace.kernels import policy_metrics, row_loss
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.annotation import Annotation
from headrace.trainer.batch import Batch
from headrace.trainer.columns import Scores, Tokens
from headrace.trainer.corrections import LIMIT, call_weights, capped

MOST_LAGS = 8
"""Lags told apart; older tokens count with the last."""
_OF = 1 << 32


@dataclass(kw_only=True, slots=True, frozen=True)
class StepResult:
    """Metrics of a step, over the sampled tokens of non-zero weight unless said otherwise."""

    loss: float
    grad_norm: float
    """Before clipping; the largest of the step's updates."""
    grad_clipped: float
    """Share of the updates whose gradient was scaled down: a step that is always clipped has the
    clip for its learning rate."""
    logp_gap: float | None
    """Mean |Δ log p| between engine and trainer, on tokens of rows that this very version sampled
    whole; None where there are none. A call that was in flight when its engine took a new version
    goes on over the old version's keys and values: its ratio is real, not a disagreement."""
    same_version_tokens: int
    ess: float
    """Effective share of samples under the importance ratios, in (0, 1]."""
    kl_k1: float
    """Estimate of KL(behaviour ‖ policy) before the step."""
    kl_k3: float
    reference_kl: float
    entropy: float
    """Nats."""
    clip_fraction: float
    """Of the last update."""
    dual_clip_fraction: float
    max_ratio: float
    rejected: float
    """Share of the tokens whose calls were rejected."""
    rows: int
    rows_read: int
    """Those that have a part in the gradient."""
    episodes: int
    tokens: int
    """Sampled tokens."""
    row_tokens: int
    """Tokens to read if every row stood alone."""
    unique_tokens: int
    """Tokens read, shared prefixes once."""
    staleness_mean: float
    """Over rows: this version minus the oldest token's version."""
    staleness_max: int
    more: dict[str, float] = field(default_factory=dict)
    """Of each version lag (`lag1_kl_k1`, …), and others that not every algorithm has."""
    annotations: dict[str, Annotation] = field(default_factory=dict)
    """What was seen of each sample, by its id."""

    def metrics(self) -> dict[str, float]:
        """By name, absent ones left out."""
        own = {
            one.name: float(value)
            for one in fields(self)
            if one.name not in ("more", "annotations")
            and (value := getattr(self, one.name)) is not None
        }
        return {**own, **self.more}


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Seen:
    """What a step's updates have met, columns [M] over all packs."""

    tokens: Tokens
    before: Scores
    """Of the policy before the step."""
    last: Scores
    """Of the policy before the step's last update."""
    advantages: Tensor
    token_weights: Tensor
    """After rejection."""
    proximal_logp: Tensor | None
    rejected: float
    loss: float
    grad_norms: tuple[float, ...]
    most_norm: float


def result_of(
    batch: Batch,
    seen: Seen,
    algorithm: AlgorithmConfig,
    *,
    version: int,
    own_samples: bool,
    more: dict[str, float],
) -> StepResult:
    """The metrics of a step."""
    tokens, before = seen.tokens, seen.before
    measured = partial(
        policy_metrics,
        advantages=seen.advantages,
        behaviour_logp=tokens.behaviour_logp,
        token_weights=seen.token_weights,
        proximal_logp=seen.proximal_logp,
        cu_seqlens=tokens.bounds,
        loss=algorithm.loss(),
    )
    values, last = (
        measured(scores.logp, entropy=scores.entropy, reference_logp=scores.reference_logp)
        for scores in (before, seen.last)
    )
    active = seen.token_weights != 0
    same = tokens.sampled_by_one & (tokens.versions == version) & active
    if not own_samples:
        same = torch.zeros_like(same)
    gap = (before.logp - tokens.behaviour_logp).abs()[same]
    staleness = [version - int(row.versions.min()) for row in batch.rows]
    return StepResult(
        loss=seen.loss,
        grad_norm=max(seen.grad_norms, default=0.0),
        grad_clipped=float(np.mean([norm > seen.most_norm for norm in seen.grad_norms or (0.0,)])),
        logp_gap=float(gap.mean()) if gap.numel() else None,
        same_version_tokens=gap.numel(),
        ess=float(values["ess"]),
        kl_k1=float(values["kl_k1"]),
        kl_k3=float(values["kl_k3"]),
        reference_kl=float(_reference_kl(before)[active].mean()) if active.any() else 0.0,
        entropy=float(values["entropy"]),
        clip_fraction=float(last["clip_fraction"]),
        dual_clip_fraction=float(last["dual_clip_fraction"]),
        max_ratio=float(values["max_ratio"]),
        rejected=seen.rejected,
        rows=len(batch.rows),
        rows_read=batch.rows_read,
        episodes=len({row.episode_id for row in batch.rows}),
        tokens=tokens.targets.numel(),
        row_tokens=batch.row_tokens,
        unique_tokens=batch.packed_tokens,
        staleness_mean=float(np.mean(staleness)),
        staleness_max=max(staleness),
        more={**dict(_of_lags(seen, algorithm, version)), **more},
    )


def annotations_of(
    batch: Batch, seen: Seen, algorithm: AlgorithmConfig, share: float
) -> Iterator[tuple[str, Annotation]]:
    """Sample id and annotation of every row of a batch.

    Args:
        share: of the samples, how many keep their tokens; which ones, their ids decide.
    """
    tokens = seen.tokens
    clipped = row_loss(
        seen.last.logp,
        advantages=seen.advantages,
        behaviour_logp=tokens.behaviour_logp,
        loss=algorithm.loss(),
        reference_logp=seen.last.reference_logp,
        proximal_logp=seen.proximal_logp,
        entropy=seen.last.entropy,
        cu_seqlens=tokens.bounds,
        mask=seen.token_weights != 0,
    ).clipped
    columns = torch.stack(
        [
            seen.before.logp.detach().float(),
            tokens.behaviour_logp,
            seen.before.entropy.detach().float(),
            clipped.float(),
            (seen.token_weights == 0).float(),
        ]
    ).cpu()
    order = [index for pack in batch.packs for index in pack.rows]
    parts = torch.split(columns, tokens.calls.tolist(), dim=1)
    for index, (logp, behaviour, entropy, held, masked) in zip(order, parts, strict=True):
        sample_id = batch.rows[index].sample_id
        difference = logp - behaviour
        kept = zlib.crc32(sample_id.encode()) < share * _OF
        yield (
            sample_id,
            Annotation(
                logp_gap=float(difference.abs().mean()),
                ratio_min=float(difference.min().exp()),
                ratio_max=float(difference.max().exp()),
                clipped=float(held.mean()),
                entropy=float(entropy.mean()),
                token_logprobs=logp.numpy().astype("<f4").tobytes() if kept else None,
                token_entropies=entropy.numpy().astype("<f4").tobytes() if kept else None,
                token_masked=masked.numpy().astype("u1").tobytes() if kept else None,
            ),
        )


def _reference_kl(scores: Scores) -> Tensor:
    """k3 of the KL to the reference, whatever the loss takes; 0 without one."""
    if scores.reference_logp is None:
        return torch.zeros_like(scores.logp)
    delta = (scores.reference_logp - scores.logp).clamp(-LIMIT, LIMIT)
    return torch.expm1(delta) - delta


def _of_lags(seen: Seen, algorithm: AlgorithmConfig, version: int) -> Iterator[tuple[str, float]]:
    """Of the tokens that lag so many versions behind: how far behaviour and policy are apart."""
    tokens, logp = seen.tokens, seen.before.logp
    log_ratio = (logp - tokens.behaviour_logp).clamp(-LIMIT, LIMIT)
    ratio = log_ratio.exp()
    whole, call = call_weights(logp, tokens.behaviour_logp, tokens.bounds, algorithm)
    by_call = algorithm.correction_level != "token"
    weight, after = (whole, call) if by_call else (ratio, capped(ratio, algorithm))
    clipped = _clipped(seen, algorithm)
    lags = (version - tokens.versions).clamp(0, MOST_LAGS - 1)
    active = seen.token_weights != 0
    for lag in torch.unique(lags[active]).tolist():
        here = active & (lags == lag)
        k1 = float(-log_ratio[here].mean())
        squares = float(ratio[here].square().mean())
        yield from {
            f"lag{lag}_tokens": float(here.sum()),
            f"lag{lag}_kl_k1": k1,
            f"lag{lag}_kl_k3": float((ratio - 1.0 - log_ratio)[here].mean()),
            f"lag{lag}_perplexity_ratio": float(np.exp(k1)),
            f"lag{lag}_chi2": squares - 1.0,
            f"lag{lag}_ess": float(ratio[here].mean()) ** 2 / max(squares, 1e-30),
            f"lag{lag}_weight": float(weight[here].mean()),
            f"lag{lag}_weight_max": float(weight[here].max()),
            f"lag{lag}_weight_capped": float(after[here].mean()),
            f"lag{lag}_masked": float((after[here] == 0).float().mean()),
            f"lag{lag}_clipped": float(clipped[here].float().mean()),
        }.items()


def _clipped(seen: Seen, algorithm: AlgorithmConfig) -> Tensor:
    """Whose gradient the clip took in the last update, bool [M]."""
    terms = row_loss(
        seen.last.logp,
        advantages=seen.advantages,
        behaviour_logp=seen.tokens.behaviour_logp,
        loss=algorithm.loss(),
        reference_logp=seen.last.reference_logp,
        proximal_logp=seen.proximal_logp,
        entropy=seen.last.entropy,
        cu_seqlens=seen.tokens.bounds,
        mask=seen.token_weights != 0,
    )
    return terms.clipped | terms.dual_clipped
