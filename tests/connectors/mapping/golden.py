"""Recorded spans beside what they are to say. Run it to write what they say now; read the diff."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from headrace.connectors.mapping import SourceEvent, SourceSpan, map_span
from headrace.schemas import Call, Span

RECORDED = Path(__file__).parent / "recorded"
_LISTS = ("prompt_ids", "sampled_ids", "logprobs", "runs")


def source(told: Mapping[str, Any]) -> SourceSpan:
    """A span of a file."""
    events = tuple(SourceEvent(**event) for event in told["events"])
    return SourceSpan(**{**told, "events": events})


def said(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The spans that it maps to, without what has its default."""
    return [_shown(span) for span in map_span(source(told)).spans]


def _shown(span: Span) -> dict[str, Any]:
    plain = {f.name: getattr(span, f.name) for f in fields(span)}
    shown = {k: str(v) if isinstance(v, str) else v for k, v in plain.items() if v}
    if span.call is not None:
        shown["call"] = _shown_call(span.call)
    if span.reward is not None:
        shown["reward"] = asdict(span.reward)
    return shown


def _shown_call(call: Call) -> dict[str, Any]:
    plain = {f.name: getattr(call, f.name) for f in fields(call) if f.name not in _LISTS}
    assert not any(len(getattr(call, name)) for name in _LISTS)
    return {k: str(v) if isinstance(v, str) else v for k, v in plain.items() if v}


def main() -> None:
    """Write what the recorded spans say now."""
    for path in sorted(RECORDED.glob("*.json")):
        items = json.loads(path.read_text())
        for item in items:
            item["says"] = said(item["span"])
        path.write_text(json.dumps(items, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
