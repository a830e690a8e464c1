"""Spans without what may not be kept: by the capture mode, and by what is to be redacted. Pure.

What is text follows from the table of columns, so a new column is redacted without a line here.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from headrace.connectors.privacy.facts import only_facts
from headrace.connectors.privacy.privacy import Privacy
from headrace.connectors.privacy.switches import Hidden
from headrace.schemas.columns import Block, Type, columns_of
from headrace.schemas.ids import span_of_response
from headrace.schemas.spans import Call, Span
from headrace.schemas.vocabulary import Untrainable

IDS = frozenset({"project", "rollout_id", "attempt"})
"""Columns of text that stay: their pattern is checked, and the span's place in the log is made of
them. Ids must not say whose they are; that is what `subject` is for."""
_ON_SPAN = (Block.EPISODES, Block.SPANS)
_PARTS = {Block.CALLS: "call", Block.REWARDS: "reward", Block.STARTS: "start"}
_SAID = frozenset({"input", "output", "attributes"})
_GROUP = frozenset({"group_id", "group_rollouts"})


def kept(span: Span, privacy: Privacy) -> Span:
    """What of a span may leave its process, where its project's mode is not `none`."""
    return redacted_of(captured_of(span, privacy), privacy)


def captured_of(span: Span, privacy: Privacy) -> Span:
    """The span without what its project's mode and the switches leave out."""
    if privacy.capture(span.project) == "metadata":
        return without_content(span)
    return without(span, privacy.hidden)


def redacted_of(span: Span, privacy: Privacy) -> Span:
    """The span with what is found in it replaced; the very same object where nothing is."""
    return span if privacy.redactor is None else redacted(span, privacy.redactor.text)


def redacted(span: Span, redact: Callable[[str], str]) -> Span:
    """The span with each of its texts redacted; the very same object where nothing is found.

    A call whose texts held something loses its tokens, for they spell it too; tokens that no text
    tells are looked at by whoever can read them. Raises TypeError for a text that is none.
    """
    changes = _changes(span, _texts(_ON_SPAN), redact)
    said = bool(changes.keys() & _SAID)
    for block, part in _PARTS.items():
        held = getattr(span, part)
        if held is None:
            continue
        if inner := _changes(held, _texts((block,)), redact):
            # Groups that are called alike would become one: of one that may not be named, none.
            lone = {"group_id": "", "group_size": 1, "group_rollouts": ()}
            changes[part] = replace(held, **(inner | (lone if _GROUP & inner.keys() else {})))
    if said and span.call is not None:
        call = changes.get("call", span.call)
        changes["call"] = without_tokens(call, Untrainable.REDACTED)
    return replace(span, **changes) if changes else span


def without_content(span: Span) -> Span:
    """The span's facts: no texts, no tokens, of its attributes what is a fact."""
    changes: dict[str, Any] = {
        "input": "",
        "output": "",
        "attributes": only_facts(span.attributes),
    }
    if span.start is not None:
        changes["start"] = replace(span.start, expected="")
    if span.call is not None:
        changes["call"] = without_tokens(span.call, Untrainable.NOT_CAPTURED)
    return replace(span, **changes)


def without(span: Span, hidden: frozenset[Hidden]) -> Span:
    """The span without what is hidden of it.

    Attributes may repeat either side, so only facts of them stay. Of a call the tokens go with any
    side: one without the other trains nothing.
    """
    if not hidden:
        return span
    if Hidden.CONTENT in hidden or hidden >= {Hidden.INPUTS, Hidden.OUTPUTS}:
        return without_content(span)
    changes: dict[str, Any] = {}
    if Hidden.INPUTS in hidden or Hidden.OUTPUTS in hidden:
        changes["attributes"] = only_facts(span.attributes)
        changes["input" if Hidden.INPUTS in hidden else "output"] = ""
    if span.start is not None and Hidden.OUTPUTS in hidden:
        changes["start"] = replace(span.start, expected="")
    if span.call is not None:
        changes["call"] = without_tokens(span.call, Untrainable.NOT_CAPTURED)
    return replace(span, **changes)


def without_tokens(call: Call, reason: Untrainable) -> Call:
    """A call whose tokens may not be kept: it cannot be trained, for `reason` if for no other."""
    none = np.empty(0, dtype=np.uint32)
    return replace(
        call,
        prompt_ids=none,
        sampled_ids=none,
        logprobs=np.empty(0, dtype=np.float32),
        trainable=False,
        untrainable_reason=call.untrainable_reason or reason,
    )


@cache
def _texts(blocks: tuple[Block, ...]) -> tuple[tuple[str, bool], ...]:
    """(field, whether it holds many) of the texts of blocks."""
    return tuple(
        (column.field, column.many)
        for block in blocks
        for column in columns_of(block)
        if column.type in (Type.WORD, Type.TEXT) and not column.among and column.name not in IDS
    )


def _changes(
    holder: Any, fields: tuple[tuple[str, bool], ...], redact: Callable[[str], str]
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for field, many in fields:
        value = getattr(holder, field)
        if value is None or (isinstance(value, (str, tuple)) and not value):
            continue
        made = tuple(_one(v, redact) for v in value) if many else _one(value, redact)
        if made != value:
            changes[field] = made
    return changes


def _one(value: Any, redact: Callable[[str], str]) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text of a span is a {type(value).__name__}")
    # Of 20,000 random ids of ours one looks like a card's number.
    return value if span_of_response(value) else redact(value)
