"""Whether a text is one that a grammar lets a model say, a byte a token."""

import numpy as np
from llguidance import LLMatcher, LLTokenizer

from headrace.connectors.engines import Constraint

_BYTES = LLTokenizer("byte")


def begins(constraint: Constraint | None, text: str) -> bool:
    """Whether a reply may begin so."""
    return _follow(constraint, text) is not None


def allows(constraint: Constraint | None, text: str) -> bool:
    """Whether a reply may be this and end here."""
    matcher = _follow(constraint, text)
    return matcher is not None and (constraint is None or matcher.is_accepting())


def _follow(constraint: Constraint | None, text: str) -> LLMatcher | None:
    assert constraint is not None
    assert constraint.kind == "lark"
    made = LLMatcher(_BYTES, LLMatcher.grammar_from_lark(constraint.source), log_level=0)
    assert not made.is_error(), made.get_error()
    for byte in text.encode():
        bits = np.frombuffer(made.compute_bitmask(), dtype=np.uint8)
        if not np.unpackbits(bits, bitorder="little")[byte]:
            return None
        assert made.consume_token(byte)
    return made
