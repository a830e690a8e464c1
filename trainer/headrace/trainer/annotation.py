"""What a step saw of each sample that it trained, kept with the sample's outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from headrace.schemas import Outcome
from headrace.schemas.vocabulary import SampleOutcome


@dataclass(kw_only=True, slots=True, frozen=True)
class Annotation:
    """Of one sample, over its tokens: the fields of an outcome by the same names.

    Gap, ratios and entropy are of the policy before the step, against what the engine sampled
    with; `clipped` is the share of tokens that the clip of the last update held. By token, and
    only where it is kept: little-endian float32, and a byte that is 1 where the loss left it out.
    """

    logp_gap: float
    ratio_min: float
    ratio_max: float
    clipped: float
    entropy: float
    token_logprobs: bytes | None = None
    token_entropies: bytes | None = None
    token_masked: bytes | None = None


def annotated(
    outcomes: Sequence[Outcome], annotations: Mapping[str, Annotation]
) -> Sequence[Outcome]:
    """The outcomes, those of trained samples with what the step saw of them."""
    return [
        replace(one, **asdict(annotations[one.sample_id]))
        if one.outcome == SampleOutcome.TRAINED and one.sample_id in annotations
        else one
        for one in outcomes
    ]
