"""What the trainer can be told: the section `[trainer]`. Imports no torch."""

import re
from dataclasses import dataclass

from headrace.connectors.settings import check, key
from headrace.schemas import InvalidId, check_id
from headrace.trainer.choices import Aggregation, Attention, Correction, KlKind, Stale

MAIN = "main"
"""Name of the trainer whose versions are served."""
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")


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
    weight_decay: float = key(0.0, least=0.0, most=1.0)
    """AdamW's weight decay; norms and biases have none."""
    max_grad_norm: float = key(1.0, least=1e-12)
    """Gradients of a greater norm are scaled down to it; the metric `grad_clipped` tells of it."""
    aggregation: Aggregation = key("horizon", choices=("horizon", "episode_mean", "token_mean"))
    """How tokens are weighted: `horizon` divides an episode's token sum by `horizon`,
    `episode_mean` by its tokens (both then by the episodes); `token_mean` divides all by all."""
    horizon: int = key(16, least=1)
    """Constant by which an episode's token sum is divided."""
    correction: Correction = key("ratio", choices=("ratio", "tis"))
    """For samples of an older policy: `ratio` clips the ratio to it, `tis` weighs by it, at most
    `tis_cap`."""
    clip_low: float = key(0.2, least=0.0, most=1.0)
    """The ratio counts down to 1 - clip_low …"""
    clip_high: float = key(0.2, least=0.0)
    """… and up to 1 + clip_high."""
    tis_cap: float = key(2.0, least=1e-12)
    """Cap of the weight under `tis`."""
    kl_coef: float = key(0.0, least=0.0)
    """Weight of the KL to the base model, which is then held in memory too; 0: none."""
    kl_kind: KlKind = key("k3", choices=("k1", "k2", "k3", "k3_unbiased"))
    """Its estimator."""
    device: str = "auto"
    """`cpu`, `cuda` or `cuda:N`; `auto` takes a GPU if there is one."""
    threads: int = key(2, least=1)
    """CPU threads of a step."""
    token_budget: int = key(2048, least=2)
    """Tokens of a pack, and so of a call that can be trained, at most; not below
    `[policy] max_sequence`. A longer call is dropped alone (`too_long`)."""
    share_prefixes: bool = True
    """Whether a prefix that calls share is read once; false is slower and gives the same."""
    attention: Attention = key("dense", choices=("dense", "flex"))
    """How a pack is read: `dense` writes its mask out; `flex` (on a GPU) goes by blocks, and packs
    are filled to `token_budget`."""
    max_versions: int = key(0, least=0)
    """Stop at this version; 0: never."""
    max_held_bytes: int = key(1 << 30, least=1)
    """Bytes of samples in memory; beyond it the oldest are let go, and their groups dropped
    (`memory`)."""

    def __post_init__(self) -> None:
        check(
            self,
            "trainer",
            ("name", _bad_name(self.name)),
            ("device", _bad_device(self.device)),
            ("attention", _bad_attention(self.attention, self.device)),
        )

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


def _bad_name(name: str) -> str:
    try:
        check_id(name, "it")
    except InvalidId:
        return f"is {name!r}: give 1 to 128 letters, digits, dots, underscores, colons or hyphens"
    return ""


def _bad_device(device: str) -> str:
    return "" if _DEVICE.fullmatch(device) else f"is {device!r}: give auto, cpu, cuda or cuda:N"


def _bad_attention(attention: str, device: str) -> str:
    if attention == "flex" and device == "cpu":
        return "is 'flex', which a CPU has no backward pass of: give 'dense', or another device"
    return ""
