"""Stage 3, call → token: weights of a call's sampled tokens."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.methods import within, written


@dataclass(kw_only=True, slots=True, frozen=True)
class TokenMethod:
    """How a call's advantage falls on its tokens. Pure."""

    name: str
    """Part of the credit's id: it changes whenever the method's results do."""
    weights: Callable[[MemberCall], bytes | None]
    """A call to the weights of its sampled tokens, float32 little-endian [tokens]; None: all 1."""


UNIFORM = TokenMethod(name="uniform", weights=lambda call: None)
"""Every token of a call carries the call's advantage; nothing is written for it."""


def discounted(gamma: float) -> TokenMethod:
    """w_t = gamma^(T-1-t): the return-to-go, within the call, of what comes with its last token.

    Raises UnknownMethod unless 0 < gamma ≤ 1.
    """
    within("gamma", gamma, 0, 1)

    def weights(call: MemberCall) -> bytes:
        powers = np.arange(call.tokens - 1, -1, -1, dtype=np.float64)
        return (gamma**powers).astype("<f4").tobytes()

    return TokenMethod(name=written("discounted", gamma), weights=weights)
