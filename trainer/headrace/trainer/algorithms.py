"""Algorithm settings: which row loss, and how tokens are weighted.

Advantages come with the samples (`headrace.streams` computes baselines over groups); here they
are turned into a loss. Denominators are those of the whole batch, before anything is rejected.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from headrace.kernels import LossConfig, aggregation_weights
from headrace.trainer.batch import TrainingRow
from headrace.trainer.choices import Aggregation, Correction, KlKind


@dataclass(kw_only=True, slots=True, frozen=True)
class GrpoConfig:
    """GRPO and Dr.GRPO (arXiv 2402.03300, 2503.20783), one optimiser step per batch."""

    aggregation: Aggregation = "horizon"
    """`horizon`: token sum per episode ÷ horizon ÷ episodes (Dr.GRPO; long episodes and many turns
    weigh no more). `episode_mean`: mean over an episode's tokens ÷ episodes (GRPO). `token_mean`:
    ÷ all tokens (DAPO)."""
    horizon: int = 128
    """Tokens an episode may sample; constant, so that length is neither rewarded nor punished."""
    correction: Correction = "ratio"
    """Off-policy correction. `ratio`: the clipped ratio is taken to the behaviour policy. `tis`:
    truncated importance weight (with one step per batch the proximal policy is the current one,
    so the ratio is 1 and never clips)."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float | None = 3.0
    """Bounds the loss of a token with A < 0 that became much likelier; None turns it off."""
    tis_cap: float = 2.0
    """Cap of the importance weight under `tis`."""
    kl_coef: float = 0.0
    """KL to the reference policy, which the step then needs."""
    kl_kind: KlKind = "k3"
    """Its estimator (`LossConfig.kl_kind`)."""

    def __post_init__(self) -> None:
        if self.aggregation not in ("horizon", "episode_mean", "token_mean"):
            raise ValueError(
                f"aggregation {self.aggregation!r} is unknown: use 'horizon', 'episode_mean' or "
                "'token_mean'"
            )
        if self.correction not in ("ratio", "tis"):
            raise ValueError(f"correction {self.correction!r} is unknown: use 'ratio' or 'tis'")
        if self.horizon < 1:
            raise ValueError(f"horizon is {self.horizon}: it must be at least 1 token")
        self.loss()  # checks the rest

    def loss(self) -> LossConfig:
        """The row loss of these settings."""
        if self.correction == "tis":
            return LossConfig(
                kind="reinforce",
                tis_cap=self.tis_cap,
                kl_coef=self.kl_coef,
                kl_kind=self.kl_kind,
            )
        return LossConfig(
            kind="ppo",
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=self.dual_clip,
            kl_coef=self.kl_coef,
            kl_kind=self.kl_kind,
        )

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
        # The kernels' sequence is an episode: its calls one after the other.
        order = [place for places in by_episode.values() for place in places]
        sizes = [rows[place].sampled_ids.size for place in order]
        ends = list(accumulate(sizes, initial=0))
        calls = accumulate((len(places) for places in by_episode.values()), initial=0)
        weights = aggregation_weights(
            torch.ones(ends[-1]),
            "sequence_mean" if self.aggregation == "episode_mean" else self.aggregation,
            cu_seqlens=torch.tensor([ends[call] for call in calls]),
            horizon=self.horizon,
            sequences=len(by_episode) if episodes is None else episodes,
        )
        parts = dict(zip(order, torch.split(weights, sizes), strict=True))

        def credited(place: int) -> Tensor:
            credit = rows[place].token_weights
            return parts[place] if credit is None else parts[place] * torch.tensor(credit)

        return [credited(place) for place in range(len(rows))]
