"""What the trainer can be told: the section `[trainer]`. Imports no torch."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from headrace.connectors.settings import check, key
from headrace.schemas import InvalidId, check_id
from headrace.trainer.choices import (
    Aggregation,
    Algorithm,
    AttentionSetting,
    Correction,
    CorrectionLevel,
    Denominator,
    Gae,
    KlKind,
    Reject,
    RowLoss,
    Schedule,
    Stale,
)
from headrace.trainer.presets import PRESETS

MAIN = "main"
"""Name of the trainer whose versions are served."""
_REJECT_BOUNDS = {
    "none": (0.0, math.inf),
    "geometric": (0.99, 1.01),
    "k2": (0.0, 2.0),
    "k3": (0.0, 0.01),
}
_REFERENCE = re.compile(r"base|@\d{1,9}|-[1-9]\d{0,8}")
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditAsked:
    """What the trainer reads of the section `[credit]`."""

    baseline: str = ""
    """Baseline of the groups; empty: the algorithm's."""
    call: str = "uniform"
    """Trajectory to calls."""


@dataclass(kw_only=True, slots=True, frozen=True)
class CriticSettings:
    """The critic of `[trainer] algorithm = "ppo"`: a body like the policy's, begun from the base
    model, with an optimiser of its own, and a value for each token's state."""

    learning_rate: float = key(1e-5, least=1e-12, most=1.0)
    """Learning rate of its AdamW."""
    max_grad_norm: float = key(1.0, least=1e-12)
    """Gradients of a greater norm are scaled down to it."""
    clip: float = key(0.2, least=1e-12)
    """A value counts no further than this from what it was before the step."""
    warmup: int = key(0, least=0)
    """Versions in which the critic learns and the policy stays as it is."""

    def __post_init__(self) -> None:
        check(self, "critic")


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainerSettings:
    """The trainer."""

    name: str = MAIN
    """Name of the trainer; another name trains beside it on equal data."""
    group_size: int = key(8, least=1)
    """Rollouts of a group."""
    groups_per_step: int = key(6, least=1)
    """Groups of an optimiser step."""
    max_staleness: int = key(1, least=0)
    """η: versions a sample may lag behind, at most."""
    stale: Stale = key("wait", choices=("wait", "withhold", "drop"))
    """So that slow agents are trained too, `wait` takes no step that would make a running rollout
    lag further behind, until its deadline. A sample that does is left out alone, and its group is
    trained without it, its reward still in the baseline: so `withhold` too, which never waits.
    `drop` drops the group."""
    learning_rate: float = key(1e-5, least=1e-12, most=1.0)
    """Learning rate of AdamW on the fp32 master weights."""
    schedule: Schedule = key("constant", choices=get_args(Schedule))
    """How the learning rate falls, by the number of the version that a step makes: `linear`, or as
    a `cosine`, until `schedule_versions`."""
    warmup_versions: int = key(0, least=0)
    """Versions over which it first rises, linearly."""
    schedule_versions: int = key(0, least=0)
    """The version at which it has fallen to `schedule_end`."""
    schedule_end: float = key(0.0, least=0.0, most=1.0)
    """What is left of it then, a share."""
    updates: int = key(1, least=1)
    """Optimiser steps on the samples of a version."""
    weight_decay: float = key(0.0, least=0.0, most=1.0)
    """AdamW's weight decay; norms and biases have none."""
    max_grad_norm: float = key(1.0, least=1e-12)
    """Gradients of a greater norm are scaled down to it; the metric `grad_clipped` tells of it."""
    algorithm: Algorithm = key("grpo", choices=tuple(PRESETS))
    """How advantages become a gradient: a preset of what is left open below, and of
    `[credit] baseline` (docs/algorithms.md)."""
    loss: RowLoss | None = key(None, choices=get_args(RowLoss))
    """Loss of a token."""
    clip_low: float | None = key(None, least=0.0, most=1.0)
    """The ratio counts down to 1 - clip_low …"""
    clip_high: float | None = key(None, least=0.0)
    """… and up to 1 + clip_high."""
    dual_clip: float | None = key(None, least=0.0)
    """Where the advantage is negative, a ratio above it counts no more (loss `ppo`; above 1); 0:
    it always counts."""
    aggregation: Aggregation | None = key(None, choices=get_args(Aggregation))
    """How tokens are weighted: `horizon` divides an episode's token sum by `horizon`,
    `episode_mean` by its tokens, `call_mean` takes the mean over its calls of the mean over their
    tokens (all three then by the episodes); `token_mean` divides all by all."""
    horizon: int = key(16, least=1)
    """Constant by which an episode's token sum is divided."""
    whiten: bool | None = None
    """Whether advantages are whitened over the tokens of a step."""
    gae: Gae = key("turn", choices=get_args(Gae))
    """Steps of the critic's estimates under `ppo`: tokens, or `turn`s, the calls of one agent."""
    gamma: float = key(1.0, least=1e-12, most=1.0)
    """What a reward one step later is worth under `ppo`."""
    lam: float = key(0.95, least=0.0, most=1.0)
    """λ: 0 believes the critic's next value, 1 the rewards alone."""
    mask_truncated: bool | None = None
    """Whether calls that ran into their limit of tokens are left out of the loss; their rewards
    stay in the baseline, their tokens in the divisor."""
    correction: Correction | None = key(None, choices=get_args(Correction))
    """For samples of an older policy: `ratio` clips the ratio to it. Else the ratio is to the
    policy before the step, and a token weighs, by how much likelier that policy makes it: `tis` at
    most `tis_cap`, `mis` nothing outside of `mis_low` to `mis_high`, `decoupled` as much as that
    is, `none` always 1."""
    correction_level: CorrectionLevel = key("token", choices=get_args(CorrectionLevel))
    """Whose likelihood weighs a token under `tis`, `mis` and `decoupled`: its own, its call's
    (`sequence`: the product over the call's tokens), or their `geometric` mean."""
    tis_cap: float = key(2.0, least=1e-12)
    """Cap of the weight under `tis`."""
    mis_low: float = key(0.5, least=0.0)
    """A token that is less likelier than this weighs nothing under `mis` …"""
    mis_high: float = key(2.0, least=1e-12)
    """… and neither does one that is more so than this."""
    reject: Reject = key("none", choices=get_args(Reject))
    """Calls that are left out because the policy has moved away from them, by the ratio ρ of its
    tokens' likelihoods to those at sampling: `geometric` by exp(mean log ρ), `k2` by mean ½·log²ρ,
    `k3` by mean (ρ - 1 - log ρ)."""
    reject_low: float | None = key(None, least=0.0)
    """They are kept from this (open: 0.99 under `geometric`, else 0) …"""
    reject_high: float | None = key(None, least=0.0)
    """… to this (open: 1.01 under `geometric`, 2 under `k2`, 0.01 under `k3`)."""
    denominator: Denominator = key("before", choices=get_args(Denominator))
    """Whether tokens of calls that are rejected count in the divisor: `before` rejection they do;
    `after` it the rest weighs the more."""
    kl_coef: float = key(0.0, least=0.0)
    """Weight of the KL to `kl_reference`, which is then held in memory too; 0: none."""
    kl_reference: str = "base"
    """What the KL is taken to: `base`, the base model; `@7`, version 7; `-2`, the version two steps
    before the one that is trained from, or its nearest ancestor that has its weights."""
    kl_kind: KlKind = key("k3", choices=("k1", "k2", "k3", "k3_unbiased"))
    """Its estimator: `k1` is taken from the reward (of each token, and so from the advantage of
    all before it), the others are in the loss."""
    device: str = "auto"
    """`cpu`, `cuda` or `cuda:N`; `auto` takes a GPU if there is one."""
    threads: int = key(2, least=1)
    """CPU threads of a step."""
    token_budget: int = key(2048, least=2)
    """Tokens of a pack, and so of a call that can be trained, at most; not below
    `[policy] max_sequence`. A longer call is dropped alone (`too_long`)."""
    share_prefixes: bool = True
    """Whether a prefix that calls share is read once; false is slower and gives the same."""
    attention: AttentionSetting = key("auto", choices=("auto", "dense", "flex"))
    """How a pack is read: `dense` writes its mask out, unless it holds one call; `flex` goes by
    blocks, and packs are filled to `token_budget`; `auto` is `flex` on a GPU, `dense` on a CPU."""
    recompute: bool = False
    """Whether what a layer calculates is forgotten and calculated again for its gradient: less
    memory, more time."""
    max_versions: int = key(0, least=0)
    """Stop at this version; 0: never."""
    annotate: float = key(0.05, least=0.0, most=1.0)
    """Share of the trained samples whose outcomes keep what the trainer saw of each token."""
    keep_versions: int = key(5, least=0)
    """How many of the last versions keep their weights on disk; 0: all do. Beside them stay the
    first, each `keep_every`-th, and those that are served, taken for the KL, or pinned by a task
    that runs. Which ones went is recorded on `headrace.policies`."""
    keep_every: int = key(10, least=0)
    """Each version of such a number keeps its weights too; 0: none for that."""
    max_held_bytes: int = key(1 << 30, least=1)
    """Bytes of samples in memory; beyond it the oldest are let go, and their groups dropped
    (`memory`)."""

    def __post_init__(self) -> None:
        check(
            self,
            "trainer",
            ("name", _bad_name(self.name)),
            ("kl_reference", _bad_reference(self.kl_reference)),
            ("device", _bad_device(self.device)),
            ("attention", bad_attention(self.attention, self.device)),
            *self._contradictions(),
        )

    def chosen(self, name: str) -> Any:
        """A key's value: its own, or the algorithm's where it is left open."""
        own = getattr(self, name, None)
        return getattr(PRESETS[self.algorithm], name) if own is None else own

    @property
    def dual_clipped(self) -> float | None:
        """The dual clip; None: none. The algorithm's is for the loss `ppo` alone."""
        own = self.dual_clip
        if own is None:
            own = PRESETS[self.algorithm].dual_clip if self.chosen("loss") == "ppo" else 0.0
        return own or None

    @property
    def reject_bounds(self) -> tuple[float, float]:
        """Between which calls are kept."""
        low, high = _REJECT_BOUNDS[self.reject]
        return (
            low if self.reject_low is None else self.reject_low,
            high if self.reject_high is None else self.reject_high,
        )

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        if self.algorithm not in PRESETS:
            return  # its own fault says so
        loss, dual = self.chosen("loss"), self.dual_clipped
        if dual is not None and dual <= 1.0:
            yield "dual_clip", f"is {dual:g}: give more than 1, or 0 for none"
        if dual is not None and loss != "ppo":
            yield "dual_clip", f"is {dual:g}, and loss is {loss!r}: only 'ppo' has one; give 0"
        if loss == "gspo" and self.chosen("aggregation") != "call_mean":
            yield (
                "aggregation",
                f"is {self.chosen('aggregation')!r}, and loss is 'gspo', whose ratio is that of a "
                "whole call: give 'call_mean', or another loss",
            )
        if loss == "reinforce" and self.chosen("correction") == "ratio":
            yield (
                "correction",
                "is 'ratio', and loss is 'reinforce', which has none: give 'tis', 'mis' or 'none'",
            )
        if self.schedule != "constant" and self.schedule_versions <= self.warmup_versions:
            yield (
                "schedule_versions",
                f"is {self.schedule_versions}, and schedule is {self.schedule!r}: give more than "
                f"warmup_versions, {self.warmup_versions}",
            )
        if self.reject in _REJECT_BOUNDS and self.reject_bounds[1] < self.reject_bounds[0]:
            low = self.reject_bounds[0]
            yield "reject_high", f"is {self.reject_bounds[1]:g}: give reject_low, {low:g}, or more"
        if self.mis_high <= self.mis_low:
            yield "mis_high", f"is {self.mis_high:g}: give more than mis_low, {self.mis_low:g}"

    @property
    def rollouts_per_step(self) -> int:
        """B: rollouts of a step."""
        return self.group_size * self.groups_per_step


def bad_budget(token_budget: int, max_sequence: int) -> str:
    """Why a pack cannot hold what the engine samples; empty: it can."""
    if token_budget >= max_sequence:
        return ""
    return (
        f"is {token_budget}, and [policy] max_sequence is {max_sequence}: the longest calls would "
        "never be trained. Raise the one or lower the other"
    )


def bad_attention(attention: str, device: str) -> str:
    """Why a device cannot read packs so; empty: it can."""
    if attention == "flex" and device == "cpu":
        return "is 'flex', which a CPU has no backward pass of: give 'dense', or another device"
    return ""


def _bad_name(name: str) -> str:
    try:
        check_id(name, "it")
    except InvalidId:
        return f"is {name!r}: give 1 to 128 letters, digits, dots, underscores, colons or hyphens"
    return ""


def _bad_reference(text: str) -> str:
    if _REFERENCE.fullmatch(text):
        return ""
    return f"is {text!r}: give base, @7 for version 7, or -2 for the version two steps ago"


def _bad_device(device: str) -> str:
    return "" if _DEVICE.fullmatch(device) else f"is {device!r}: give auto, cpu, cuda or cuda:N"
