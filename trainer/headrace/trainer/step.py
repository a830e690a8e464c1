"""One optimiser step: packs forward and backward, then AdamW."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from headrace.kernels import linear_logp, linear_policy_loss, policy_metrics
from headrace.trainer.advantages import advantages_of
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch, Pack, TrainingRow
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.gather import gather_rows
from headrace.trainer.optimizer import MasterOptimizer
from headrace.trainer.policy import Policy


@dataclass(kw_only=True, slots=True, frozen=True)
class StepResult:
    """Metrics of a step, over the sampled tokens of non-zero weight unless said otherwise."""

    loss: float
    grad_norm: float
    """Before clipping."""
    grad_clipped: float
    """1 where the gradient was scaled down: a step that is always clipped has the clip for its
    learning rate."""
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
    dual_clip_fraction: float
    max_ratio: float
    rows: int
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

    def metrics(self) -> dict[str, float]:
        """By name, absent ones left out."""
        return {name: float(value) for name, value in asdict(self).items() if value is not None}


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class _Tokens:
    """Columns of sampled tokens [M]."""

    targets: Tensor
    temperature: Tensor
    advantages: Tensor
    behaviour_logp: Tensor
    token_weights: Tensor
    versions: Tensor
    sampled_by_one: Tensor
    """Whether one version sampled the token's whole row."""
    calls: Tensor
    """[rows], how many tokens each call has: they follow each other."""

    @property
    def bounds(self) -> Tensor:
        """Of the calls, [rows + 1]."""
        return torch.nn.functional.pad(self.calls.cumsum(0), (1, 0))


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class _Scores:
    """What the policy, before the step, makes of them, [M]."""

    logp: Tensor
    entropy: Tensor
    reference_logp: Tensor | None


_T = TypeVar("_T", _Tokens, _Scores)


class TrainStep:
    """Takes optimiser steps on a policy."""

    def __init__(
        self, policy: Policy, optimizer: MasterOptimizer, *, reference: Policy | None = None
    ) -> None:
        self.policy = policy
        self.optimizer = optimizer
        self.reference = reference
        """Needed when the algorithm's kl_coef is above 0."""

    def run(
        self,
        batch: Batch,
        algorithm: AlgorithmConfig,
        *,
        version: int,
        episodes: int | None = None,
        own_samples: bool = True,
    ) -> StepResult:
        """Train on a batch with the weights of `version`; afterwards they are those of the next.

        With `own_samples=False` versions are another trainer's: `version` is the newest of them,
        from which staleness counts, and no token tells of a gap to this policy.

        `episodes` is the number of episodes the batch stands for (see `token_weights`). Raises
        NonFiniteStep, weights untouched, when loss or gradient is not finite.
        """
        if algorithm.kl_coef > 0.0 and self.reference is None:
            raise ValueError("kl_coef is above 0: give TrainStep a reference policy")
        weights = algorithm.token_weights(batch.rows, episodes=episodes)
        advantages = advantages_of(batch.rows, weights, algorithm)
        self.optimizer.discard()
        total = 0.0
        tokens, scores = [], []
        for pack in batch.packs:
            tokens.append(_tokens(pack, batch, weights, advantages, self.policy.device))
            loss, scored = self._backward(pack, tokens[-1], algorithm)
            if not np.isfinite(loss):
                self.optimizer.discard()
                samples = ", ".join(batch.rows[row].sample_id for row in pack.rows[:3])
                raise NonFiniteStep(
                    f"the loss is {loss} in a pack of {len(pack.rows)} rows ({samples}, …): no "
                    "step was taken. Look at the policy's weights and the rows' log-probabilities"
                )
            self.optimizer.accumulate()
            total += loss
            scores.append(scored)
        grad_norm = self.optimizer.apply()
        return _result(
            batch,
            _joined(_Tokens, tokens),
            _joined(_Scores, scores),
            algorithm=algorithm,
            version=version,
            own_samples=own_samples,
            loss=total,
            grad_norm=grad_norm,
            grad_clipped=grad_norm > self.optimizer.config.max_grad_norm,
        )

    def _backward(
        self, pack: Pack, tokens: _Tokens, algorithm: AlgorithmConfig
    ) -> tuple[float, _Scores]:
        """Loss of a pack; its gradients are left on the policy's parameters, the head's part of
        them in the optimiser's sum."""
        sources = torch.from_numpy(pack.sources).to(self.policy.device)
        reference_logp = None
        if algorithm.kl_coef > 0.0:
            reference_logp = self._reference_logp(pack, sources, tokens)
        out = linear_policy_loss(
            gather_rows(self.policy.hidden_states(pack), sources),
            self.policy.head,
            tokens.targets,
            advantages=tokens.advantages,
            behaviour_logp=tokens.behaviour_logp,
            token_weights=tokens.token_weights,
            temperature=tokens.temperature,
            loss=algorithm.loss(),
            reference_logp=reference_logp,
            cu_seqlens=tokens.bounds,
            main_grad=self.optimizer.gradient_sum(self.policy.head),
        )
        loss = float(out.loss.detach())
        if np.isfinite(loss):
            out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        return loss, _Scores(logp=out.logp, entropy=out.entropy, reference_logp=reference_logp)

    @torch.no_grad()
    def _reference_logp(self, pack: Pack, sources: Tensor, tokens: _Tokens) -> Tensor:
        assert self.reference is not None
        hidden = self.reference.hidden_states(pack).index_select(0, sources)
        return linear_logp(
            hidden, self.reference.head, tokens.targets, temperature=tokens.temperature
        ).logp


def _tokens(
    pack: Pack,
    batch: Batch,
    weights: Sequence[Tensor],
    advantages: Sequence[Tensor],
    device: torch.device,
) -> _Tokens:
    rows = [batch.rows[index] for index in pack.rows]

    def column(of: Callable[[TrainingRow], ArrayLike], dtype: torch.dtype) -> Tensor:
        parts = [np.broadcast_to(of(row), row.sampled_ids.shape) for row in rows]
        return torch.from_numpy(np.concatenate(parts)).to(device, dtype)

    return _Tokens(
        targets=column(lambda row: row.sampled_ids.astype(np.int64), torch.int64),
        temperature=column(lambda row: row.temperature, torch.float32),
        advantages=torch.cat([advantages[index] for index in pack.rows]).to(device),
        behaviour_logp=column(lambda row: row.behaviour_logp, torch.float32),
        token_weights=torch.cat([weights[index] for index in pack.rows]).to(device),
        versions=column(lambda row: row.versions, torch.int64),
        sampled_by_one=column(lambda row: np.ptp(row.versions) == 0, torch.bool),
        calls=torch.tensor([row.sampled_ids.size for row in rows], device=device),
    )


def _joined(kind: type[_T], parts: Sequence[_T]) -> _T:
    """The columns of several packs, one after the other."""
    columns: dict[str, Any] = {}
    for field in fields(kind):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if values[0] is None else torch.cat(values)
    return kind(**columns)


def _result(
    batch: Batch,
    tokens: _Tokens,
    scores: _Scores,
    *,
    algorithm: AlgorithmConfig,
    version: int,
    own_samples: bool,
    loss: float,
    grad_norm: float,
    grad_clipped: bool,
) -> StepResult:
    values = policy_metrics(
        scores.logp,
        entropy=scores.entropy,
        advantages=tokens.advantages,
        behaviour_logp=tokens.behaviour_logp,
        token_weights=tokens.token_weights,
        loss=algorithm.loss(),
        reference_logp=scores.reference_logp,
        cu_seqlens=tokens.bounds,
    )
    same = tokens.sampled_by_one & (tokens.versions == version) & (tokens.token_weights != 0)
    if not own_samples:
        same = torch.zeros_like(same)
    gap = (scores.logp - tokens.behaviour_logp).abs()[same]
    staleness = [version - int(row.versions.min()) for row in batch.rows]
    return StepResult(
        loss=loss,
        grad_norm=grad_norm,
        grad_clipped=float(grad_clipped),
        logp_gap=float(gap.mean()) if gap.numel() else None,
        same_version_tokens=gap.numel(),
        ess=float(values["ess"]),
        kl_k1=float(values["kl_k1"]),
        kl_k3=float(values["kl_k3"]),
        reference_kl=float(values["reference_kl"]),
        entropy=float(values["entropy"]),
        clip_fraction=float(values["clip_fraction"]),
        dual_clip_fraction=float(values["dual_clip_fraction"]),
        max_ratio=float(values["max_ratio"]),
        rows=len(batch.rows),
        episodes=len({row.episode_id for row in batch.rows}),
        tokens=tokens.targets.numel(),
        row_tokens=batch.row_tokens,
        unique_tokens=batch.packed_tokens,
        staleness_mean=float(np.mean(staleness)),
        staleness_max=max(staleness),
    )
