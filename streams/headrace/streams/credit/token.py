"""Stage 3, call → token: weights of a call's sampled tokens."""

from collections.abc import Callable

from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.methods import Methods

TokenMethod = Callable[[MemberCall], bytes | None]
"""A call to the weights of its sampled tokens, float32 little-endian [tokens]; None: all 1."""


def uniform(call: MemberCall) -> None:
    """Every token of a call carries the call's advantage; nothing is written for it."""


TOKEN_METHODS: Methods[TokenMethod] = Methods(stage="token method", plain={"uniform": uniform})
