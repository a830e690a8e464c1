"""Algorithm settings: which row loss, and how tokens are weighted.

Advantages come with the samples (`headrace.streams` computes baselines over groups); here they
are turned into a loss. Denominators are those of the whole batch, before anything is rejected.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headrace.kernels import LossConfig
from headrace.trainer.batch import TrainingRow

Aggregation = Literal["horizon", "episode_mean", "token_mean"]
Correction = Literal["ratio", "tis"]


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
    """k3 KL to the reference policy, which the step then needs."""

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
            return LossConfig(kind="reinforce", tis_cap=self.tis_cap, kl_coef=self.kl_coef)
        return LossConfig(
            kind="ppo",
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=self.dual_clip,
            kl_coef=self.kl_coef,
        )

    def token_weights(
        self, rows: Sequence[TrainingRow], *, episodes: int | None = None
    ) -> list[NDArray[np.float32]]:
        """Weight of every sampled token, one array [sampled tokens] a row.

        `episodes` is the number of episodes the batch stands for, rejected ones included; by
        default those seen in `rows`.
        """
        seen = Counter[str]()
        for row in rows:
            seen[row.episode_id] += row.sampled_ids.size
        count = len(seen) if episodes is None else episodes
        if count < len(seen):
            raise ValueError(f"episodes is {count}, yet the rows are of {len(seen)} episodes")

        def denominator(row: TrainingRow) -> float:
            if self.aggregation == "token_mean":
                return float(seen.total())
            tokens = self.horizon if self.aggregation == "horizon" else seen[row.episode_id]
            return float(tokens) * count

        def weights(row: TrainingRow) -> NDArray[np.float32]:
            shares = (
                np.ones(row.sampled_ids.size) if row.token_weights is None else row.token_weights
            )
            return (shares / denominator(row)).astype(np.float32)

        return [weights(row) for row in rows]
