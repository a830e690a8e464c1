"""Which row loss, and its constants."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

LOG_RATIO_LIMIT = 20.0
"""Log-ratios are clamped to ± this before `exp`; beyond it the derivative is zero."""

LossKind = Literal["reinforce", "ppo", "gspo", "cispo", "sapo"]
KlKind = Literal["k1", "k2", "k3", "k3_unbiased"]
Correction = Literal["none", "tis", "mis"]


class Constants(NamedTuple):
    """The numbers of a row loss, as operators and kernels take them: one record, by name."""

    clip_low: float
    clip_high: float
    dual_clip: float
    """Infinite where there is none."""
    tau_positive: float
    tau_negative: float
    weight_low: float
    weight_high: float
    kl_coef: float
    entropy_coef: float


class Choices(NamedTuple):
    """What a row loss is made of, as kernels take it: compiled in, one kernel for each record."""

    kind: LossKind
    correction: Correction
    kl: KlKind | Literal["none"]
    proximal: bool
    """Whether proximal log-probabilities are given."""


@dataclass(kw_only=True, slots=True, frozen=True)
class LossConfig:
    """Which row loss, and its constants.

    GRPO, Dr.GRPO, DAPO and PPO have the same row (`ppo`): they differ in how advantages are
    normalised, in the clip and in how tokens are weighted
    (`headrace.kernels.aggregation_weights`). DAPO is `clip_high=0.28` with the token mean;
    REINFORCE++ is `ppo` with `reinforce_pp_advantages`.
    """

    kind: LossKind = "ppo"
    """With r the ratio of the policy to the proximal policy (the behaviour policy unless proximal
    log-probabilities are given):

    - `reinforce`: -w·A·logp.
    - `ppo`: max(-A·r, -A·clip(r)) (arXiv 1707.06347).
    - `gspo`: as `ppo`, with r the geometric mean of the sequence's ratios; the gradient of each
      token is that of GSPO-token (arXiv 2507.18071). Needs `cu_seqlens`.
    - `cispo`: -sg(clip(r))·A·logp: no token loses its gradient (arXiv 2506.13585).
    - `sapo`: -A·(4/τ)·sigmoid(τ·(r - 1)), a soft gate in place of the clip (arXiv 2511.20347).
    """
    clip_low: float = 0.2
    """The ratio is kept above 1 - clip_low; 1 leaves it free below. GSPO needs about 3e-4."""
    clip_high: float = 0.2
    """The ratio is kept below 1 + clip_high (asymmetric in DAPO, arXiv 2503.14476; for CISPO the
    bound on the weight is 1 + clip_high too). GSPO needs about 4e-4."""
    dual_clip: float | None = None
    """`ppo`: for A < 0 the loss is at most -dual_clip·A (arXiv 1912.09729); above 1, often 3."""
    sapo_tau_positive: float = 1.0
    """`sapo`: τ where the advantage is positive."""
    sapo_tau_negative: float = 1.05
    """`sapo`: τ where the advantage is negative."""
    tis_cap: float | None = None
    """Truncated importance weight w = min(ρ, cap), ρ = π_old/μ, held constant; `inf` leaves it
    whole. For `reinforce` π_old is the current policy; for all others it is the proximal policy,
    which must then be given: decoupled PPO (arXiv 2110.00641). (A ratio to the behaviour policy is
    already corrected: a weight on top would count it twice.)"""
    mis_bounds: tuple[float, float] | None = None
    """Masked importance weight w = ρ where low ≤ ρ ≤ high and 0 elsewhere (arXiv 2510.18855),
    in place of `tis_cap`, with the same ρ."""
    kl_coef: float = 0.0
    """Coefficient of the KL to a reference policy."""
    kl_kind: KlKind = "k3"
    """Estimator with δ = logπ - logπ_ref (joschu.net/blog/kl-approx): `k1` δ (its gradient is zero
    on average: fit as a penalty on rewards, not as a loss), `k2` δ²/2 (the gradient of the reverse
    KL), `k3` e^{-δ} - 1 + δ, `k3_unbiased` r·k3 with r the token's ratio to the proximal policy,
    which corrects value and gradient (r·δ) for samples of another policy (arXiv 2512.02556)."""
    entropy_coef: float = 0.0
    """Coefficient c of the entropy bonus: -c·H is added, H over the whole vocabulary."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(LossKind):
            raise ValueError(f"loss kind {self.kind!r} is unknown: use one of {get_args(LossKind)}")
        if self.kl_kind not in get_args(KlKind):
            raise ValueError(f"kl_kind {self.kl_kind!r} is unknown: use one of {get_args(KlKind)}")
        if not 0.0 <= self.clip_low <= 1.0:
            raise ValueError(f"clip_low is {self.clip_low}: it must lie in [0, 1]")
        if not self.clip_high >= 0.0:
            raise ValueError(f"clip_high is {self.clip_high}: it must not be negative")
        if self.dual_clip is not None:
            if not self.dual_clip > 1.0:
                raise ValueError(f"dual_clip is {self.dual_clip}: it must be above 1, or None")
            if self.kind != "ppo":
                raise ValueError(f"dual_clip is for kind 'ppo', not {self.kind!r}: set it to None")
        for name in ("sapo_tau_positive", "sapo_tau_negative"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        self._check_correction()
        for name in ("kl_coef", "entropy_coef"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must not be negative")

    def _check_correction(self) -> None:
        if self.tis_cap is not None and not self.tis_cap > 0.0:
            raise ValueError(f"tis_cap is {self.tis_cap}: it must be above 0, or None")
        if self.mis_bounds is None:
            return
        if self.tis_cap is not None:
            raise ValueError("tis_cap and mis_bounds are both set: keep one, set the other to None")
        low, high = self.mis_bounds
        if not 0.0 <= low < high:
            raise ValueError(f"mis_bounds are {self.mis_bounds}: they must be 0 <= low < high")

    @property
    def correction(self) -> Correction:
        """How rows are weighted for the gap between the old and the behaviour policy."""
        if self.tis_cap is not None:
            return "tis"
        return "none" if self.mis_bounds is None else "mis"

    @property
    def weight_bounds(self) -> tuple[float, float]:
        """Bounds of the importance weight: the cap of `tis`, both ends of `mis`."""
        if self.mis_bounds is not None:
            return self.mis_bounds
        return (0.0, math.inf if self.tis_cap is None else self.tis_cap)

    @property
    def needs_sequences(self) -> bool:
        """Whether a row's loss depends on the other tokens of its sequence."""
        return self.kind == "gspo"

    @property
    def needs_every_row(self) -> bool:
        """Whether rows of zero advantage have a gradient too."""
        return self.kl_coef > 0.0 or self.entropy_coef > 0.0

    @property
    def constants(self) -> Constants:
        low, high = self.weight_bounds
        return Constants(
            clip_low=self.clip_low,
            clip_high=self.clip_high,
            dual_clip=math.inf if self.dual_clip is None else self.dual_clip,
            tau_positive=self.sapo_tau_positive,
            tau_negative=self.sapo_tau_negative,
            weight_low=low,
            weight_high=high,
            kl_coef=self.kl_coef,
            entropy_coef=self.entropy_coef,
        )

    def choices(self, *, proximal: bool) -> Choices:
        return Choices(
            kind=self.kind,
            correction=self.correction,
            kl=self.kl_kind if self.kl_coef > 0.0 else "none",
            proximal=proximal,
        )

    def encode(self) -> tuple[str, list[float]]:
        """As a name and numbers, which is what an operator can take."""
        return f"{self.kind} {self.correction} {self.kl_kind}", list(self.constants)


def decode(name: str, numbers: Sequence[float]) -> LossConfig:
    """The configuration that `LossConfig.encode` gave."""
    kind, correction, kl_kind = name.split()
    given = Constants(*numbers)
    bounds = (given.weight_low, given.weight_high)
    return LossConfig(
        kind=cast(LossKind, kind),
        clip_low=given.clip_low,
        clip_high=given.clip_high,
        dual_clip=None if math.isinf(given.dual_clip) else given.dual_clip,
        sapo_tau_positive=given.tau_positive,
        sapo_tau_negative=given.tau_negative,
        tis_cap=given.weight_high if correction == "tis" else None,
        mis_bounds=bounds if correction == "mis" else None,
        kl_coef=given.kl_coef,
        kl_kind=cast(KlKind, kl_kind),
        entropy_coef=given.entropy_coef,
    )
