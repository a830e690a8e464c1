"""Completions that must have a form: which tokens may come next, by llguidance.

https://github.com/guidance-ai/llguidance
"""

import logging
import threading
from typing import Any

import llguidance
import llguidance.hf
import llguidance.torch
import torch
from torch import Tensor

from headrace.connectors.engines.base import Constraint
from headrace.connectors.engines.errors import InvalidRequest

logger = logging.getLogger(__name__)

MAX_SOURCE = 256 * 1024
"""Characters of a schema or grammar: larger ones take seconds to compile."""


class Constraints:
    """Compiles forms for one tokenizer, which is made ready when the first is asked for."""

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        """tokenizer: a fast one of transformers; vocabulary: the size of the logits."""
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._lock = threading.Lock()
        self._ready: Any = None

    def compile(self, constraint: Constraint) -> "TokenMask":
        """What a completion may say. Takes a second the first time; any thread may call it.

        Raises:
            InvalidRequest: the schema, expression or grammar cannot be used.
        """
        if len(constraint.source) > MAX_SOURCE:
            raise InvalidRequest(
                f"the {constraint.kind} has {len(constraint.source)} characters: give up to "
                f"{MAX_SOURCE}"
            )
        try:
            matcher = llguidance.LLMatcher(self._get(), _grammar(constraint), log_level=0)
        except Exception as fault:  # llguidance raises ValueError and others of its own
            raise InvalidRequest(f"the {constraint.kind} cannot be used: {fault}") from fault
        if error := matcher.get_error():
            raise InvalidRequest(f"the {constraint.kind} cannot be used: {error}"[:1000])
        return TokenMask(matcher, self._vocabulary)

    def _get(self) -> Any:
        with self._lock:
            if self._ready is None:
                self._ready = llguidance.hf.from_tokenizer(self._tokenizer, self._vocabulary)
            return self._ready


class TokenMask:
    """Where one completion stands in its form. Belongs to the engine's thread."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._mask = llguidance.torch.allocate_token_bitmask(1, vocabulary)

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def apply(self, logits: Tensor) -> None:
        """Set to -inf what may not come next. logits: float [vocabulary], changed in place."""
        llguidance.torch.fill_next_token_bitmask(self._matcher, self._mask, 0)
        bits = self._mask[0].to(logits.device)
        place = torch.arange(logits.shape[0], device=logits.device)
        allowed = (bits[place // 32] >> (place % 32)) & 1
        logits.masked_fill_(allowed == 0, -torch.inf)

    def accept(self, token: int) -> None:
        """Go on by a token.

        Raises:
            InvalidRequest: the form has become too costly to follow, or the token is none of it.
        """
        if not self._matcher.consume_token(token):
            raise InvalidRequest(f"the constraint was lost: {self._matcher.get_error()}"[:1000])


def _grammar(constraint: Constraint) -> str:
    made = llguidance.LLMatcher
    if constraint.kind == "json_object":
        return str(made.grammar_from_json_schema({"type": "object"}))
    if constraint.kind == "json_schema":
        return str(made.grammar_from_json_schema(constraint.source))
    if constraint.kind == "regex":
        return str(made.grammar_from_regex(constraint.source))
    return str(made.grammar_from_lark(constraint.source))
