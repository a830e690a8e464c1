"""Stage 3, call → token: weights of a call's sampled tokens."""

from collections.abc import Callable

from headrace.streams.credit.errors import UnknownMethod

TokenMethod = Callable[[int], bytes | None]
"""Number of sampled tokens to their weights, float32 little-endian; None: all 1."""


def uniform(tokens: int) -> None:
    """Every token of a call carries the call's advantage; nothing is written for it."""


TOKEN_METHODS: dict[str, TokenMethod] = {"uniform": uniform}


def token_method(name: str) -> TokenMethod:
    """The method of a setting; raises UnknownMethod."""
    if name not in TOKEN_METHODS:
        raise UnknownMethod(f"no token method {name!r}: choose one of {', '.join(TOKEN_METHODS)}")
    return TOKEN_METHODS[name]
