"""Sampled tokens in classes of probability, for the colours of the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

# Log-probabilities from which a token is in the next class: 90, 50, 10 and 1 per cent.
_BOUNDS = (-0.105, -0.693, -2.303, -4.605)


@dataclass(kw_only=True, slots=True, frozen=True)
class Token:
    """One sampled token: its id, log-probability (None: not recorded), class and version."""

    id: int
    logprob: float | None
    bin: int
    version: int | None


def tokens(
    ids: Sequence[int],
    logprobs: Sequence[float],
    versions: Sequence[int],
    lengths: Sequence[int],
) -> list[Token]:
    """The tokens of a call. `versions` sampled `lengths` of them each, in order."""
    ends = list(accumulate(lengths))
    run = 0
    made = []
    for place, token_id in enumerate(ids):
        while run < len(ends) and place >= ends[run]:
            run += 1
        logprob = logprobs[place] if place < len(logprobs) else None
        version = versions[run] if run < min(len(ends), len(versions)) else None
        made.append(Token(id=token_id, logprob=logprob, bin=surprise(logprob), version=version))
    return made


def surprise(logprob: float | None) -> int:
    """0 (at least 90 % likely) to 4 (under 1 %); not recorded, or no number: 0."""
    return 0 if logprob is None else sum(logprob < bound for bound in _BOUNDS)
