"""Sampled tokens in classes, for the colours of the page."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

# Log-probabilities from which a token is in the next class: 90, 50, 10 and 1 per cent.
_BOUNDS = (-0.105, -0.693, -2.303, -4.605)
_SIZES = (0.05, 0.5, 1.5)


@dataclass(kw_only=True, slots=True, frozen=True)
class Token:
    """One sampled token: its id, log-probability (None: not recorded), classes and version."""

    id: int
    logprob: float | None
    bin: int
    version: int | None
    run: int
    """0 and 1 by turns: another version sampled from here on."""
    gain: int
    """-3 to 3, by the advantage of its call; 0: none, or no credit."""


def tokens(
    ids: Sequence[int],
    logprobs: Sequence[float],
    versions: Sequence[int],
    lengths: Sequence[int],
    advantage: float | None = None,
) -> list[Token]:
    """The tokens of a call. `versions` sampled `lengths` of them each, in order."""
    ends = list(accumulate(lengths))
    gain = gain_of(advantage)
    made = []
    for place, token_id in enumerate(ids):
        run = bisect_right(ends, place)
        logprob = logprobs[place] if place < len(logprobs) else None
        version = versions[run] if run < min(len(ends), len(versions)) else None
        made.append(
            Token(
                id=token_id,
                logprob=logprob,
                bin=surprise(logprob),
                version=version,
                run=run % 2,
                gain=gain,
            )
        )
    return made


def surprise(logprob: float | None) -> int:
    """0 (at least 90 % likely) to 4 (under 1 %); not recorded, or no number: 0."""
    return 0 if logprob is None else sum(logprob < bound for bound in _BOUNDS)


def gain_of(advantage: float | None) -> int:
    """-3 to 3: the sign of an advantage and its size in steps (0.05, 0.5, 1.5)."""
    if advantage is None:
        return 0
    size = sum(abs(advantage) >= bound for bound in _SIZES)
    return size if advantage > 0 else -size
