"""What a step saw of a sample. Read on a bare GPU machine, too: no schemas here."""

from dataclasses import dataclass


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
