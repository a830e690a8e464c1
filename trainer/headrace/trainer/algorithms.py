"""Algorithm settings as the step takes them: the row loss, and how tokens are weighted.

Groups' baselines are formed by `headrace.streams`; here advantages are turned into a loss.
Denominators are those of the whole batch, before anything is rejected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Self, get_args

import torch
from torch import Tensor

from headrace.kernels import LossConfig, aggregation_weights
from headrace.trainer.batch import TrainingRow
from headrace.trainer.choices import (
    Aggregation,
    Algorithm,
    Correction,
    CorrectionLevel,
    Denominator,
    Gae,
    KlKind,
    Reject,
    RowLoss,
)
from headrace.trainer.presets import PRESETS


@dataclass(kw_only=True, slots=True, frozen=True)
class AlgorithmConfig:
    """An algorithm. `preset` gives those that have a name."""

    name: Algorithm = "grpo"
    """The preset it was made from."""
    row_loss: RowLoss = "ppo"
    aggregation: Aggregation = "horizon"
    """`horizon`: token sum per episode ÷ horizon ÷ episodes (Dr.GRPO; long episodes and many turns
    weigh no more). `episode_mean`: mean over an episode's tokens ÷ episodes (GRPO). `call_mean`:
    mean over an episode's calls of the mean over their tokens ÷ episodes (GSPO). `token_mean`:
    ÷ all tokens (DAPO)."""
    horizon: int = 128
    """Tokens an episode may sample; constant, so that length is neither rewarded nor punished."""
    whiten: bool = False
    """Advantages are whitened over the tokens of the batch (REINFORCE++)."""
    critic: bool = False
    """Advantages are estimates by a critic, which the step then needs."""
    gae: Gae = "turn"
    """Whether its steps are tokens or calls."""
    gamma: float = 1.0
    lam: float = 0.95
    mask_truncated: bool = False
    """Truncated calls weigh nothing, and stay in every denominator."""
    correction: Correction = "ratio"
    """Off-policy correction. `ratio`: the row loss's ratio is taken to the behaviour policy. Else
    it is taken to the proximal policy, and rows weigh w of ρ = proximal ÷ behaviour: `tis`
    min(ρ, tis_cap), `mis` ρ within `mis_bounds` and 0 outside, `decoupled` ρ, `none` 1. The
    proximal policy is that before the step."""
    correction_level: CorrectionLevel = "token"
    """Whose ratio weighs a row: its token's, the product over its call, or the geometric mean."""
    reject: Reject = "none"
    """Which calls are left out, by the ratios of their tokens (`headrace.trainer.corrections`)."""
    reject_bounds: tuple[float, float] = (0.0, math.inf)
    denominator: Denominator = "before"
    """Whether what is rejected stays in the divisor; `after`: the rest weighs the more."""
    updates: int = 1
    """Optimiser steps per batch, all against the same proximal policy."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = 3.0
    """Bounds the loss of a token with A < 0 that became much likelier; None turns it off."""
    tis_cap: float = 2.0
    mis_bounds: tuple[float, float] = (0.5, 2.0)
    kl_coef: float = 0.0
    """KL to the reference policy, which the step then needs."""
    kl_kind: KlKind = "k3"
    """Its estimator (`LossConfig.kl_kind`): `k1` is taken from the reward, others are in the
    loss."""

    @classmethod
    def preset(cls, name: Algorithm, **changes: Any) -> Self:
        """The algorithm of a name, with some of its fields changed."""
        preset = PRESETS[name]
        fields = {
            "row_loss": preset.loss,
            "aggregation": preset.aggregation,
            "whiten": preset.whiten,
            "critic": preset.critic,
            "mask_truncated": preset.mask_truncated,
            "correction": preset.correction,
            "clip_low": preset.clip_low,
            "clip_high": preset.clip_high,
            "dual_clip": preset.dual_clip or None,
        }
        return cls(name=name, **{**fields, **changes})

    def __post_init__(self) -> None:
        for key, kinds in (
            ("name", Algorithm),
            ("row_loss", RowLoss),
            ("aggregation", Aggregation),
            ("correction", Correction),
            ("correction_level", CorrectionLevel),
            ("reject", Reject),
            ("gae", Gae),
            ("denominator", Denominator),
        ):
            if (value := getattr(self, key)) not in get_args(kinds):
                known = ", ".join(map(repr, get_args(kinds)))
                raise ValueError(f"{key} {value!r} is unknown: use one of {known}")
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}: it must be at least 1 token")
        if not (0.0 < self.gamma <= 1.0 and 0.0 <= self.lam <= 1.0):
            raise ValueError(f"gamma is {self.gamma}, lam {self.lam}: give (0, 1] and [0, 1]")
        if self.updates < 1:
            raise ValueError(f"updates is {self.updates}: it must be at least 1")
        if self.row_loss == "gspo" and self.aggregation != "call_mean":
            raise ValueError(
                f"aggregation is {self.aggregation!r}: row_loss 'gspo' needs 'call_mean'"
            )
        self.loss()  # checks the rest

    @property
    def kl_in_reward(self) -> bool:
        """Whether the KL to the reference is taken from the reward."""
        return self.kl_coef > 0.0 and self.kl_kind == "k1"

    @property
    def takes_proximal(self) -> bool:
        """Whether ratios are to the proximal policy where that is not the current one, or is
        needed for weights of calls."""
        more = self.updates > 1 or self.correction_level != "token"
        return more and self.correction != "ratio"

    @property
    def scores_first(self) -> bool:
        """Whether the batch must be scored before its gradients can be formed."""
        return self.takes_proximal or self.reject != "none" or self.kl_in_reward

    def loss(self) -> LossConfig:
        """The row loss of these settings."""
        own = self.correction_level == "token"  # weights of calls are no matter of rows
        cap = {"tis": self.tis_cap, "decoupled": math.inf}.get(self.correction) if own else None
        kl_coef = 0.0 if self.kl_in_reward else self.kl_coef
        if self.correction == "ratio" or self.takes_proximal:
            return LossConfig(
                kind=self.row_loss,
                clip_low=self.clip_low,
                clip_high=self.clip_high,
                dual_clip=self.dual_clip if self.row_loss == "ppo" else None,
                tis_cap=cap,
                mis_bounds=self.mis_bounds if self.correction == "mis" and own else None,
                kl_coef=kl_coef,
                kl_kind=self.kl_kind,
            )
        # The ratio to the policy before the step is 1, where every row loss has the gradient -A.
        return LossConfig(
            kind="reinforce",
            tis_cap=cap,
            mis_bounds=self.mis_bounds if self.correction == "mis" else None,
            kl_coef=kl_coef,
            kl_kind=self.kl_kind,
        )

    def reads(self, row: TrainingRow) -> bool:
        """Whether a row has a part in the gradient: the others need not be read.

        A row without advantage has one where all tokens count: in a KL, for a critic, or in the
        mean that whitening takes away.
        """
        if self.critic or self.whiten or self.kl_coef > 0.0 or self.reject != "none":
            return True
        if row.advantage == 0.0 or (self.mask_truncated and row.truncated):
            return False
        return row.token_weights is None or bool(row.token_weights.any())

    def token_weights(
        self, rows: Sequence[TrainingRow], *, episodes: int | None = None
    ) -> list[Tensor]:
        """Weight of every sampled token, fp32, one tensor [sampled tokens] a row.

        `episodes` is the number of episodes the batch stands for, rejected ones included; by
        default those seen in `rows`.
        """
        by_episode: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            by_episode.setdefault(row.episode_id, []).append(place)
        if episodes is not None and episodes < len(by_episode):
            raise ValueError(
                f"episodes is {episodes}, yet the rows are of {len(by_episode)} episodes"
            )
        order = [place for places in by_episode.values() for place in places]
        sizes = [rows[place].sampled_ids.size for place in order]
        weights = self._aggregated(
            sizes,
            [len(places) for places in by_episode.values()],
            len(by_episode) if episodes is None else episodes,
        )
        parts = dict(zip(order, torch.split(weights, sizes), strict=True))

        def credited(place: int) -> Tensor:
            row = rows[place]
            if self.mask_truncated and row.truncated:
                return torch.zeros_like(parts[place])
            credit = row.token_weights
            return parts[place] if credit is None else parts[place] * torch.tensor(credit)

        return [credited(place) for place in range(len(rows))]

    def _aggregated(self, sizes: list[int], calls: list[int], episodes: int) -> Tensor:
        """Weights of the tokens of calls of these sizes, so many an episode, one after another."""
        ends = list(accumulate(sizes, initial=0))
        mask = torch.ones(ends[-1])
        if self.aggregation == "call_mean":
            each = aggregation_weights(
                mask, "sequence_mean", cu_seqlens=torch.tensor(ends), sequences=episodes
            )
            shares = torch.tensor(calls).reciprocal().repeat_interleave(torch.tensor(calls))
            return each * shares.repeat_interleave(torch.tensor(sizes))
        # The kernels' sequence is an episode: its calls one after the other.
        return aggregation_weights(
            mask,
            "sequence_mean" if self.aggregation == "episode_mean" else self.aggregation,
            cu_seqlens=torch.tensor([ends[one] for one in accumulate(calls, initial=0)]),
            horizon=self.horizon,
            sequences=episodes,
        )
