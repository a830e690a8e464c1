"""What a step saw: its metrics, and those of each version lag."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import torch
from torch import Tensor

from headrace.kernels import RowLoss, policy_metrics, row_loss
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
    """Metrics of a step.

    What the policy says of tokens (log-probabilities, ratios, entropy, KL, clips, lags) is over the
    sampled tokens of non-zero weight in the rows that are read. Rows without a part in the gradient
    (`AlgorithmConfig.reads`) are not read, so that under GRPO these figures know nothing of groups
    that were all alike. Counts say of which rows they are.
    """

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
    """Share of the tokens of non-zero weight whose calls were rejected; of all rows."""
    rows: int
    """All rows, read or not."""
    rows_read: int
    """Those that have a part in the gradient."""
    episodes: int
    """Those of all rows."""
    tokens: int
    """Sampled tokens of the rows that are read."""
    row_tokens: int
    """Tokens to read if every one of these rows stood alone."""
    unique_tokens: int
    """Tokens read, shared prefixes once."""
    staleness_mean: float
    """Over all rows: this version minus the oldest token's version."""
    staleness_max: int
    more: dict[str, float] = field(default_factory=dict)
    """Of each version lag (`lag1_kl_k1`, …), and others that not every algorithm has."""
    annotations: dict[str, Annotation] = field(default_factory=dict)
    """What was seen of each sample that was read, by its id."""

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
    annotate: float = 0.0,
) -> StepResult:
    """The metrics of a step, and what it saw of each sample; for a share `annotate` of the samples
    of each token."""
    tokens, before = seen.tokens, seen.before
    terms = _terms(seen.last, seen, algorithm)
    last = _values(terms, seen.last, seen)
    values = last
    if before is not seen.last:
        values = _values(_terms(before, seen, algorithm), before, seen)
    active = seen.token_weights != 0
    same = tokens.sampled_by_one & (tokens.versions == version) & active
    gap = (before.logp - tokens.behaviour_logp).abs()
    lags = _lags(batch, version)
    told = _read(
        {
            **{name: values[name] for name in _BEFORE},
            **{name: last[name] for name in _LAST},
            "active": active.sum(),
            "reference_kl": _reference_kl(before).where(active, 0.0).sum(),
            "same": same.sum(),
            "gap": gap.where(same, 0.0).sum(),
            **_of_lags(seen, terms, algorithm, version, lags),
        }
    )
    known = told["same"] if own_samples else 0.0
    staleness = [version - int(row.versions.min()) for row in batch.rows]
    return StepResult(
        loss=seen.loss,
        grad_norm=max(seen.grad_norms, default=0.0),
        grad_clipped=float(np.mean([norm > seen.most_norm for norm in seen.grad_norms or (0.0,)])),
        logp_gap=told["gap"] / known if known else None,
        same_version_tokens=int(known),
        ess=told["ess"],
        kl_k1=told["kl_k1"],
        kl_k3=told["kl_k3"],
        entropy=told["entropy"],
        max_ratio=told["max_ratio"],
        clip_fraction=told["clip_fraction"],
        dual_clip_fraction=told["dual_clip_fraction"],
        reference_kl=told["reference_kl"] / max(1.0, told["active"]),
        rejected=seen.rejected,
        rows=len(batch.rows),
        rows_read=batch.rows_read,
        episodes=len({row.episode_id for row in batch.rows}),
        tokens=tokens.targets.numel(),
        row_tokens=batch.row_tokens,
        unique_tokens=batch.packed_tokens,
        staleness_mean=float(np.mean(staleness)),
        staleness_max=max(staleness),
        more={**dict(_told_of_lags(told, lags)), **more},
        annotations=dict(_annotations(batch, seen, terms, annotate)),
    )


def _annotations(
    batch: Batch, seen: Seen, terms: RowLoss, share: float
) -> Iterator[tuple[str, Annotation]]:
    """Sample id and annotation of every row that was read; which of them are among the `share`
    that keeps its tokens, their ids decide."""
    tokens = seen.tokens
    columns = torch.stack(
        [
            seen.before.logp.detach().float(),
            tokens.behaviour_logp,
            seen.before.entropy.detach().float(),
            terms.clipped.float(),
            (seen.token_weights == 0).float(),
        ]
    ).cpu()
    order = [index for pack in batch.packs for index in pack.rows]
    ends = np.cumsum([batch.rows[index].sampled_ids.size for index in order])
    parts = np.split(columns.numpy(), ends[:-1], axis=1)
    for index, (logp, behaviour, entropy, held, masked) in zip(order, parts, strict=True):
        sample_id = batch.rows[index].sample_id
        difference = logp - behaviour
        kept = zlib.crc32(sample_id.encode()) < share * _OF
        yield (
            sample_id,
            Annotation(
                logp_gap=float(np.abs(difference).mean()),
                ratio_min=float(np.exp(difference.min())),
                ratio_max=float(np.exp(difference.max())),
                clipped=float(held.mean()),
                entropy=float(entropy.mean()),
                token_logprobs=logp.astype("<f4").tobytes() if kept else None,
                token_entropies=entropy.astype("<f4").tobytes() if kept else None,
                token_masked=masked.astype("u1").tobytes() if kept else None,
            ),
        )


_BEFORE = ("ess", "kl_k1", "kl_k3", "entropy", "max_ratio")
"""Of the policy before the step."""
_LAST = ("clip_fraction", "dual_clip_fraction")
"""Of the last update."""


def _read(values: dict[str, Tensor]) -> dict[str, float]:
    """0-d tensors as numbers, all with one wait for the device."""
    numbers = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))


def _lags(batch: Batch, version: int) -> list[int]:
    """The version lags among the tokens that were read, known without the device."""
    places = [place for pack in batch.packs for place in pack.rows]
    versions = np.concatenate([batch.rows[place].versions for place in places])
    found: list[int] = np.unique((version - versions).clip(0, MOST_LAGS - 1)).tolist()
    return found


def _reference_kl(scores: Scores) -> Tensor:
    """k3 of the KL to the reference, whatever the loss takes; 0 without one."""
    if scores.reference_logp is None:
        return torch.zeros_like(scores.logp)
    delta = (scores.reference_logp - scores.logp).clamp(-LIMIT, LIMIT)
    return torch.expm1(delta) - delta


def _of_lags(
    seen: Seen, terms: RowLoss, algorithm: AlgorithmConfig, version: int, lags: Sequence[int]
) -> dict[str, Tensor]:
    """Of the tokens that lag so many versions behind: how far behaviour and policy are apart, in
    sums."""
    tokens, logp = seen.tokens, seen.before.logp
    log_ratio = (logp - tokens.behaviour_logp).clamp(-LIMIT, LIMIT)
    ratio = log_ratio.exp()
    whole, call = call_weights(logp, tokens.behaviour_logp, tokens.bounds, algorithm)
    by_call = algorithm.correction_level != "token"
    weight, after = (whole, call) if by_call else (ratio, capped(ratio, algorithm))
    columns = {
        "kl_k1": -log_ratio,
        "kl_k3": ratio - 1.0 - log_ratio,
        "ratio": ratio,
        "squares": ratio.square(),
        "weight": weight,
        "weight_capped": after,
        "masked": (after == 0).float(),
        "clipped": (terms.clipped | terms.dual_clipped).float(),
    }
    of_token = (version - tokens.versions).clamp(0, MOST_LAGS - 1)
    active, found = seen.token_weights != 0, {}
    for lag in lags:
        here = active & (of_token == lag)
        found[f"lag{lag}_tokens"] = here.sum()
        found[f"lag{lag}_weight_max"] = weight.where(here, 0.0).max()
        for name, column in columns.items():
            found[f"lag{lag}_{name}"] = column.where(here, 0.0).sum()
    return found


def _told_of_lags(told: dict[str, float], lags: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Their means, by name; nothing of a lag whose tokens all weigh nothing."""
    for lag in lags:
        of = f"lag{lag}_"
        count = told[f"{of}tokens"]
        if not count:
            continue
        mean = {name: told[of + name] / count for name in _MEANS}
        yield f"{of}tokens", count
        yield f"{of}weight_max", told[f"{of}weight_max"]
        yield f"{of}perplexity_ratio", float(np.exp(mean["kl_k1"]))
        yield f"{of}chi2", mean["squares"] - 1.0
        yield f"{of}ess", mean["ratio"] ** 2 / max(mean["squares"], 1e-30)
        for name in _MEANS:
            if name not in ("ratio", "squares"):
                yield of + name, mean[name]


_MEANS = ("kl_k1", "kl_k3", "ratio", "squares", "weight", "weight_capped", "masked", "clipped")


def _terms(scores: Scores, seen: Seen, algorithm: AlgorithmConfig) -> RowLoss:
    """What the loss makes of every token, [M], at a policy's scores."""
    return row_loss(
        scores.logp.detach(),
        advantages=seen.advantages,
        behaviour_logp=seen.tokens.behaviour_logp,
        loss=algorithm.loss(),
        reference_logp=scores.reference_logp,
        proximal_logp=seen.proximal_logp,
        entropy=scores.entropy.detach(),
        cu_seqlens=seen.tokens.bounds,
        mask=seen.token_weights != 0,
    )


def _values(terms: RowLoss, scores: Scores, seen: Seen) -> dict[str, Tensor]:
    return policy_metrics(
        terms,
        scores.logp,
        entropy=scores.entropy,
        behaviour_logp=seen.tokens.behaviour_logp,
        token_weights=seen.token_weights,
    )
