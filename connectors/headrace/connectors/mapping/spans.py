"""A span of OpenTelemetry as the spans of headrace that it says. Pure; raises nothing."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from headrace.connectors.mapping.calls import (
    context_call,
    foreign_call,
    is_gateways,
    response_of,
)
from headrace.connectors.mapping.conventions import conventions
from headrace.connectors.mapping.facts import AGENT, Facts, read_facts
from headrace.connectors.mapping.place import Place, Refusal, as_hex, named_in, place_in
from headrace.connectors.mapping.rewards import reward_of, rewards_in
from headrace.connectors.mapping.source import SourceEvent, SourceSpan
from headrace.connectors.mapping.texts import attributes, moment, short, text, trimmed
from headrace.connectors.mapping.tools import tells_of_error, tool_fields
from headrace.schemas import Span
from headrace.schemas.vocabulary import SpanKind, SpanStatus

logger = logging.getLogger(__name__)

_MOST_EVENTS = 1_000
_PLACE = frozenset({"project", "rollout_id", "attempt", "agent"})
_TEXTS = _PLACE | {"input", "output"}
_CALL = _TEXTS | {
    "model", "response_id", "temperature", "top_p", "top_k", "seed", "max_tokens", "parameters",
    "finish_reason",
}  # fmt: skip
_USED: dict[str, frozenset[str]] = {
    SpanKind.TOOL: _TEXTS | {"tool_name", "tool_input", "tool_output"},
    SpanKind.CALL: _CALL,
    SpanKind.CONTEXT: _CALL | {"system"},
}
"""What of a span's fields its kind has a place for; the others stay attributes."""
_FAILING = (SpanKind.TOOL, SpanKind.CALL)
_EXCEPTION = ("exception.type", "exception.message", "exception.stacktrace")


@dataclass(kw_only=True, slots=True, frozen=True)
class Mapped:
    """The spans that a source span says, itself first; or why it cannot be kept."""

    spans: tuple[Span, ...] = ()
    refused: Refusal | None = None


def map_span(
    source: SourceSpan,
    *,
    place: Place | None = None,
    named: Mapping[str, Any] | None = None,
    project: str = "default",
    calls_are_seen: bool = False,
) -> Mapped:
    """The spans that a span of OpenTelemetry says. Raises nothing, whatever its values are.

    Args:
        place: the attempt it belongs to; None: as its attributes say, else one for its trace.
        named: what `named_in` found in its resource; None: it is looked up.
        project: of a span that names none.
        calls_are_seen: whether the gateway sees the attempt's model calls: a framework's span of a
            call that does not say which response it got is a plain span then, for a call is one.
    """
    span_id = as_hex(source.span_id, 16)
    if not span_id:
        return Mapped(refused=Refusal.NO_SPAN_ID)
    facts = _facts(source)
    if place is None:
        told = named_in(source.resource) if named is None else named
        found = place_in(facts.fields, told, source.trace_id, project)
        if isinstance(found, Refusal):
            return Mapped(refused=found)
        place = found
    return Mapped(spans=tuple(_Mapping(source, facts, place, span_id, calls_are_seen).spans()))


def agent_of(source: SourceSpan) -> str:
    """The agent that a span itself names; empty: it names none. Raises nothing."""
    nowhere = Place(project="", rollout_id="", attempt="", root="")
    return next(_Mapping(source, _facts(source), nowhere, source.span_id, False).spans()).agent


def _facts(source: SourceSpan) -> Facts:
    try:
        return read_facts(source)
    except Exception:  # a mapping of somebody's own making: its attributes are kept as one
        logger.debug("attributes of a span cannot be read", exc_info=True)
        return Facts(kind=SpanKind.SPAN, rest={"attributes": source.attributes})


class _Mapping:
    """One source span on its way."""

    def __init__(
        self,
        source: SourceSpan,
        facts: Facts,
        place: Place,
        span_id: str,
        calls_are_seen: bool,
    ) -> None:
        self._source, self._facts, self._span_id = source, facts, span_id
        self._calls_are_seen = calls_are_seen
        self._message = text(source.status_message)
        self._response = ""
        self._common: dict[str, Any] = {
            "project": place.project,
            "rollout_id": place.rollout_id,
            "attempt": place.attempt,
        }
        self._parent = as_hex(source.parent_id, 16) or place.root

    def spans(self) -> Iterator[Span]:
        """The span itself, then what its attributes and events say beyond it."""
        facts, name = self._facts, short(self._source.name)
        rewards = rewards_in(facts)
        if rewards and facts.kind == SpanKind.EVENT:
            facts.kind = SpanKind.REWARD
        fields = self._fields(facts.kind, name)
        if facts.kind == SpanKind.REWARD:
            first = rewards.pop(0)
            fields |= first | {"name": first["reward"].name}
            fields["attributes"] = first["attributes"] or attributes(facts.others(_PLACE))
        yield Span(
            span_id=self._span_id,
            parent_id=self._parent,
            started_at=moment(self._source.started_at),
            ended_at=moment(self._source.ended_at),
            **self._common,
            **fields,
        )
        for number, reward in enumerate(rewards):
            yield self._reward(reward, f"reward/{number}", self._source.ended_at)
        yield from self._of_events()

    def _fields(self, kind: str, name: str) -> dict[str, Any]:
        facts = self._facts
        agent = short(facts.fields.get("agent"))
        if kind == AGENT:
            kind = SpanKind.SPAN
            agent = agent or self._agent_by_span(name)
        status = self._status(kind)
        fields: dict[str, Any] = {"kind": kind, "name": name, "agent": agent, "status": status}
        if kind == SpanKind.TOOL:
            fields |= tool_fields(facts, name, self._message or self._exception_message())
            if status != SpanStatus.ERROR and tells_of_error(fields["output"]):
                fields["status"] = SpanStatus.ERROR
        elif kind == SpanKind.CALL:
            fields |= self._call_fields(status)
        elif kind == SpanKind.EXCEPTION:
            fields |= self._exception_fields()
        else:
            fields["input"] = text(facts.get("input"))
            fields["output"] = text(facts.get("output")) or self._message
        if kind == SpanKind.EXCEPTION:
            return fields
        if self._message and fields.get("output") != self._message:
            facts.rest["error.message"] = self._message
        fields["attributes"] = attributes(facts.others(_USED.get(fields["kind"], _TEXTS)))
        return fields

    def _call_fields(self, status: str) -> dict[str, Any]:
        facts = self._facts
        self._response = response = response_of(facts)
        if is_gateways(response):
            # The gateway's own span has the texts, the tokens and the facts.
            return {"kind": SpanKind.CONTEXT, "call": context_call(facts, response)}
        if self._calls_are_seen and not response:
            told = {"input": text(facts.get("input")), "output": text(facts.get("output"))}
            return {"kind": SpanKind.SPAN, **told}
        return {
            "call": foreign_call(facts, response, status),
            "input": text(facts.get("input")),
            "output": text(facts.get("output")) or self._message,
        }

    def _exception_message(self) -> str:
        """Of the last exception among its events; a status need not say what it is about."""
        told = [e.attributes for e in self._source.events if _is(e, "exception")]
        return text(told[-1].get("exception.message")) if told else ""

    def _exception_fields(self) -> dict[str, Any]:
        told = self._facts.fields
        names = ("exception_type", "exception_message", "exception_trace")
        return _exception(*(told.get(name) for name in names))

    def _agent_by_span(self, name: str) -> str:
        told = self._facts.fields.get("agent_span")
        return short(told) or trimmed(name, (), conventions().agents["name_suffixes"])

    def _status(self, kind: str) -> str:
        if self._source.status == SpanStatus.ERROR or self._facts.fields.get("error"):
            return SpanStatus.ERROR
        if kind in _FAILING and any(_is(event, "exception") for event in self._source.events):
            return SpanStatus.ERROR
        # Unset says that nothing went wrong (OpenTelemetry's trace API, "Set status").
        return SpanStatus.OK

    def _of_events(self) -> Iterator[Span]:
        seen: set[tuple[str, str]] = set()
        for number, event in enumerate(self._source.events[:_MOST_EVENTS]):
            if _is(event, "exception"):
                fields = _exception(*(event.attributes.get(name) for name in _EXCEPTION))
                what = fields["name"], fields["attributes"]
                if what not in seen:  # frameworks record one exception twice
                    seen.add(what)
                    yield self._derived(f"exception/{number}", event.at, fields)
            elif _is(event, "evaluation"):
                reward = reward_of(event, self._response)
                if reward is None:
                    told = attributes(event.attributes)
                    fields = {"kind": SpanKind.EVENT, "name": short(event.name), "attributes": told}
                    yield self._derived(f"event/{number}", event.at, fields)
                else:
                    told = reward["attributes"] or attributes(event.attributes)
                    yield self._reward(
                        reward | {"attributes": told}, f"evaluation/{number}", event.at
                    )

    def _reward(self, reward: dict[str, Any], which: str, at: int) -> Span:
        fields = {"kind": SpanKind.REWARD, "name": reward["reward"].name}
        return self._derived(which, at, fields | reward)

    def _derived(self, which: str, at: int, fields: dict[str, Any]) -> Span:
        """A span of its own for something inside the source span; its id follows from that."""
        made = blake2b(f"{self._span_id}/{which}".encode(), digest_size=8).hexdigest()
        when = moment(at)
        return Span(
            span_id=made,
            parent_id=self._span_id,
            started_at=when,
            ended_at=when,
            **self._common,
            **fields,
        )


def _is(event: SourceEvent, role: str) -> bool:
    return conventions().events.get(event.name) == role


def _exception(kind: Any, message: Any, trace: Any) -> dict[str, Any]:
    facts = {"exception.type": short(kind), "exception.message": text(message)}
    return {
        "kind": SpanKind.EXCEPTION,
        "name": facts["exception.type"] or "exception",
        "attributes": attributes(facts),
        "output": text(trace),
        "status": SpanStatus.ERROR,
    }
