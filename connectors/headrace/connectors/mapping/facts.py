"""A span's attributes sorted by what they mean: fields, spread lists, and the rest. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.mapping.conventions import Conventions, conventions
from headrace.connectors.mapping.source import SourceEvent, SourceSpan
from headrace.connectors.mapping.spread import gathered
from headrace.schemas.vocabulary import SpanKind

AGENT = "agent"
"""A kind on the way: a plain span whose name may be an agent's."""


@dataclass(slots=True)
class Facts:
    """What a span's attributes say."""

    kind: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    """Field: the attribute that gave it."""
    spread: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Field: what stood behind its prefix, by the rest of the name."""
    rest: dict[str, Any] = field(default_factory=dict)
    """Attributes that no field took."""

    def get(self, name: str) -> Any:
        """The list that was spread over attributes, else a field's value; None: neither is there.

        Where both are, as in OpenInference's calls, the value is the same messages in the words of
        some API.
        """
        if name in self.spread:
            return gathered(self.spread[name], conventions().left_out)
        return self.fields.get(name)

    def others(self, used: frozenset[str]) -> dict[str, Any]:
        """The attributes that say something beyond the fields that were used."""
        unused = self.fields.keys() - used
        if not unused:
            return self.rest
        return self.rest | {self.names.get(f, f): self.fields[f] for f in sorted(unused)}


def read_facts(span: SourceSpan) -> Facts:
    """Sort a span's attributes, and those of the events that only carry its contents."""
    known = conventions()
    facts = Facts()
    said = _sort(facts, span.attributes, known)
    roles = [(event, known.events.get(event.name, "")) for event in span.events]
    for event, role in roles:
        if role == "content":
            _sort(facts, event.attributes, known, weakly=True)
    for side in ("input", "output"):
        if messages := [_message(event) for event, role in roles if role == side]:
            facts.fields.setdefault(side, messages)
    if others := [_told(event) for event, role in roles if not role]:
        facts.rest["events"] = others
    facts.kind = (
        said or known.span_names.get(span.name) or _implied(span, known) or SpanKind.SPAN.value
    )
    return facts


def _sort(
    facts: Facts, attributes: Mapping[str, Any], known: Conventions, *, weakly: bool = False
) -> str:
    """Put attributes where they belong; returns the kind that one of them names."""
    ranks: dict[str, int] = {}
    fields, names, rest = facts.fields, facts.names, facts.rest
    kind = ""
    for name, value in attributes.items():
        place = known.fields.get(name)
        if place is not None and value is not None and value != "":
            what, rank = place
            before = ranks.get(what)
            if before is not None and before < rank:
                rest[name] = value
            elif before is not None or not (weakly and what in fields):
                if before is not None:
                    rest[names[what]] = fields[what]
                ranks[what], names[what], fields[what] = rank, name, value
        elif name.startswith(known.any_prefix):
            prefix, what = next(one for one in known.prefixes if name.startswith(one[0]))
            facts.spread.setdefault(what, {})[name[len(prefix) :]] = value
        elif place is None:
            rest[known.renamed.get(name, name)] = value
            if name in known.kinds and not kind:
                kind = known.kinds[name].get(value, SpanKind.SPAN) if _is_word(value) else ""
    return kind


def _is_word(value: Any) -> bool:
    return isinstance(value, str)


def _implied(span: SourceSpan, known: Conventions) -> str:
    kinds: Iterator[str] = (kind for name, kind in known.implied.items() if name in span.attributes)
    return next(kinds, "")


def _message(event: SourceEvent) -> dict[str, Any]:
    role = event.name.split(".")[1] if event.name.count(".") == 2 else "assistant"
    return {"role": role, **event.attributes}


def _told(event: SourceEvent) -> dict[str, Any]:
    return {"name": event.name, "at": event.at, "attributes": event.attributes}
