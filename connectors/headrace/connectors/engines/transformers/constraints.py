"""Completions that must have a form: which tokens may come next, by llguidance.

https://github.com/guidance-ai/llguidance. Its own limits bound what a grammar may cost (a step of
the lexer, the size of the grammar, its nesting); what exceeds them is refused or ends the request.
"""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from numpy.typing import NDArray
from torch import Tensor

from headrace.connectors.engines.base import Constraint
from headrace.connectors.engines.errors import InvalidRequest

logger = logging.getLogger(__name__)

MAX_SOURCE = 256 * 1024
"""Characters of a schema or grammar: larger ones take seconds to compile."""
REMEMBERED = 64
"""Compiled forms that are kept: an agent asks for the same few again and again."""
WHITESPACE = r"[ \t\n\r]{0,64}"
"""What JSON may have between its parts. Without a bound small models write spaces to the end."""


class Constraints:
    """Compiles forms for one tokenizer, which is made ready when the first is asked for."""

    def __init__(self, tokenizer: Any, end_ids: frozenset[int], size: int) -> None:
        """tokenizer: a fast one of transformers; size: tokens of the vocabulary."""
        self._tokenizer, self._end_ids, self._size = tokenizer, end_ids, size
        self._lock = Lock()
        self._ready: LLTokenizer | None = None
        self._compiled: OrderedDict[Constraint, LLMatcher] = OrderedDict()

    def compile(self, constraint: Constraint) -> "TokenMask":
        """What a completion may say. Takes a second the first time; any thread may call it.

        Raises:
            InvalidRequest: the schema, expression or grammar cannot be used; it says why.
        """
        with self._lock:
            matcher = self._compiled.get(constraint)
        if matcher is None:
            matcher = self._compile(constraint)
            with self._lock:
                self._compiled[constraint] = matcher
                if len(self._compiled) > REMEMBERED:
                    self._compiled.popitem(last=False)
        return TokenMask(matcher.deep_copy(), self._forbidden(), self._size)

    def _compile(self, constraint: Constraint) -> LLMatcher:
        kind = constraint.kind
        if len(constraint.source) > MAX_SOURCE:
            raise InvalidRequest(
                f"the {kind} has {len(constraint.source)} characters: give up to {MAX_SOURCE}"
            )
        limits = LLParserLimits(verbose_errors=False)
        try:
            grammar = _grammar(constraint)
            matcher = LLMatcher(self._get(), grammar, limits=limits, log_level=0)
        except Exception as fault:  # llguidance raises ValueError and others of its own
            raise InvalidRequest(f"the {kind} cannot be used: {fault}"[:1000]) from fault
        # The first step is the one that finds a form too costly: here, not in the engine's thread.
        if not matcher.is_error():
            allowed = TokenMask(matcher, self._forbidden(), self._size).allowed()
            if not matcher.is_error() and not allowed.any():
                raise InvalidRequest(f"the {kind} cannot be used: no token of the model begins it")
        if matcher.is_error():
            raise InvalidRequest(f"the {kind} cannot be used: {matcher.get_error()}"[:1000])
        return matcher

    def _forbidden(self) -> tuple[int, ...]:
        # llguidance takes some token for the end token of a model that has none.
        return () if self._end_ids else (self._get().eos_token,)

    def _get(self) -> LLTokenizer:
        with self._lock:
            if self._ready is None:
                # The tokenizer may know tokens for which the model has no row.
                size = max(self._size, len(self._tokenizer))
                self._ready = llguidance.hf.from_tokenizer(
                    self._tokenizer, size, sorted(self._end_ids) or None
                )
            return self._ready


class TokenMask:
    """Where one completion is in its form. Belongs to the engine's thread."""

    def __init__(self, matcher: LLMatcher, forbidden: tuple[int, ...], size: int) -> None:
        """forbidden: tokens that never come; size: tokens of the vocabulary."""
        self._matcher, self._forbidden, self._size = matcher, forbidden, size

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may come next: bool [vocabulary]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=self._size, bitorder="little").astype(np.bool_)
        allowed[list(self._forbidden)] = False
        return allowed

    def accept(self, token: int) -> None:
        """Go on by a token.

        Raises:
            InvalidRequest: the form has become too costly to follow, or the token is none of it.
        """
        if not self._matcher.consume_token(token):
            raise InvalidRequest(f"the constraint was lost: {self._matcher.get_error()}"[:1000])


def masked(logits: Tensor, masks: Sequence[TokenMask | None]) -> Tensor:
    """Logits, float [rows, vocabulary], with -inf at what a row's form does not allow.

    Without any form they are the very tensor that was given.
    """
    rows = [row for row, mask in enumerate(masks) if mask is not None]
    if not rows:
        return logits
    allowed = np.stack([mask.allowed() for mask in masks if mask is not None])
    forbidden = torch.from_numpy(~allowed).to(logits.device)
    result = logits.to(torch.float32, copy=True)
    for row, one in zip(rows, forbidden, strict=True):
        result[row].masked_fill_(one, -torch.inf)
    return result


def _grammar(constraint: Constraint) -> str:
    source = constraint.source
    if constraint.kind == "regex":
        return LLMatcher.grammar_from_regex(source)
    if constraint.kind == "lark":
        return LLMatcher.grammar_from_lark(source)
    schema = source if constraint.kind == "json_schema" else '{"type": "object"}'
    return LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_pattern": WHITESPACE})
