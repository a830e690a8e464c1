"""The algorithms by name: what `[trainer] algorithm` stands for. Pure; imports no torch.

A preset says what its paper says; `docs/algorithms.md` has the formulas. Each of its keys can be
set alone in `[trainer]`, the baseline in `[credit]`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from headrace.trainer.choices import Aggregation, Algorithm, Correction, RowLoss

NO_BASELINE = "none"
"""`[credit] baseline` of an algorithm that has a baseline of its own."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Preset:
    """What an algorithm is made of."""

    baseline: str
    """Of groups, formed by the credit stage; `none`: the trainer has one of its own."""
    loss: RowLoss = "ppo"
    clip_low: float = 0.2
    clip_high: float = 0.2
    dual_clip: float = 0.0
    """0: none."""
    aggregation: Aggregation
    correction: Correction = "ratio"
    whiten: bool = False
    """Advantages are whitened over the tokens of a step."""
    critic: bool = False
    """The trainer has a critic, and advantages are its estimates."""
    mask_truncated: bool = False
    """Calls that ran into their limit of tokens are not trained."""
    overlong: bool = False
    """Long calls are punished, softly, in the reward."""


PRESETS: Mapping[Algorithm, Preset] = {
    "grpo": Preset(baseline="grpo", aggregation="horizon", dual_clip=3.0),
    "dr_grpo": Preset(baseline="dr_grpo", aggregation="horizon"),
    "rloo": Preset(baseline="rloo", aggregation="horizon", loss="reinforce", correction="tis"),
    "reinforce_pp": Preset(baseline=NO_BASELINE, aggregation="token_mean", whiten=True),
    "ppo": Preset(baseline=NO_BASELINE, aggregation="token_mean", whiten=True, critic=True),
    "dapo": Preset(
        baseline="grpo",
        aggregation="token_mean",
        clip_high=0.28,
        mask_truncated=True,
        overlong=True,
    ),
    "gspo": Preset(
        baseline="grpo", aggregation="call_mean", loss="gspo", clip_low=3e-4, clip_high=4e-4
    ),
    "cispo": Preset(
        baseline="grpo", aggregation="token_mean", loss="cispo", clip_low=1.0, clip_high=4.0
    ),
}

_SAME_SCALE: Mapping[str, tuple[str, ...]] = {
    "grpo": ("rloo_std", "running_mean"),
    "dr_grpo": ("rloo", "running_mean"),
    NO_BASELINE: (),
}
"""What the credit stage gives an incomplete group, or one of a single rollout, in place of a
baseline."""


def baselines_of(baseline: str) -> frozenset[str]:
    """The baselines of Credits that stand in a step of this one; '' is of before they were told."""
    return frozenset({"", baseline, *_SAME_SCALE.get(baseline, ("running_mean",))})


def contradictions(
    algorithm: Algorithm, baseline: str, whiten: bool | None, call: str = "uniform"
) -> Iterator[tuple[str, str, str]]:
    """(section, key, what is wrong with it) between an algorithm and credit."""
    preset = PRESETS[algorithm]
    own = preset.critic or (preset.whiten if whiten is None else whiten)
    if preset.critic and call != "uniform":
        yield (
            "credit",
            "call",
            f"is {call!r}, and [trainer] algorithm {algorithm!r} estimates the advantages of calls "
            "by its critic: leave [credit] call at 'uniform', or choose another algorithm",
        )
    if baseline == NO_BASELINE and not own:
        yield (
            "credit",
            "baseline",
            f"is 'none', and [trainer] algorithm {algorithm!r} has no baseline of its own: whether "
            "a reward is much would be asked of nothing. Leave [credit] baseline empty, or set "
            "[trainer] algorithm to 'reinforce_pp' or 'ppo', or [trainer] whiten to true",
        )
    if preset.baseline == NO_BASELINE != baseline:
        yield (
            "credit",
            "baseline",
            f"is {baseline!r}, and [trainer] algorithm {algorithm!r} has a baseline of its own: "
            "leave [credit] baseline empty, or choose another [trainer] algorithm",
        )
