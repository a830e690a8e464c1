"""`/episodes/{project}/{rollout}/{attempt}`: what did the agent do, and what came of it?"""

import uuid
from collections.abc import Mapping, Sequence
from typing import cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask, ask_all
from headrace.infra.console.pages.episodes import FILTERS
from headrace.infra.console.pages.listing import filters_of, kept
from headrace.infra.console.render import Page
from headrace.infra.console.timeline import WIDTH, bars
from headrace.infra.console.tokens import ANNOTATED, COLOURS, LEGENDS, MOST, shown, tokens_of
from headrace.infra.console.transcript import turns

SPANS = 240
"""Of a page: about 6,000 elements, which a browser lays out in a second."""


def episode(client: ClickHouse, at: Mapping[str, str], asked: Mapping[str, str]) -> Page | None:
    """The episode's page; None: no such episode. `asked` holds the filters of the list it is in,
    and which spans are shown: `from` a number of them on, or those around one of the id `span`.

    Raises:
        ValueError: `from` is no number of spans.
    """
    key = {name: at[name] for name in ("project", "rollout", "attempt")}
    begin = _begin(client, key, asked)
    heads, spans = ask_all(
        client, ("episode", key), ("spans", {**key, "begin": begin, "limit": SPANS})
    )
    if not heads.rows:
        return None
    (head,) = heads.rows
    grouped = {**key, "group": head["group_id"] or head["rollout_id"]}
    calls = shown(spans.rows, asked.get("tokens", ""))
    filters = filters_of(asked, FILTERS)
    sampled, standing, credit, given, beside, outcomes = ask_all(
        client,
        ("tokens", {**grouped, "calls": calls, "most": MOST}),
        ("standing", grouped),
        ("credit", grouped),
        ("given", {**grouped, "spans": head["spans"], "version": head["version"]}),
        ("beside", {**key, **filters, "at": head["log_last"]}),
        ("outcomes", key),
    )
    return Page(
        template="episode.html",
        title="Episode",
        answers=[spans, heads, standing, credit, outcomes, given, sampled, beside],
        more={
            "head": head,
            "begin": begin,
            "step": SPANS,
            "turns": turns(spans.rows),
            "bars": bars([(_int(row["started_at"]), _int(row["ended_at"])) for row in spans.rows]),
            **_tokens(sampled.rows, asked),
            "kept": kept(filters),
            "gave": _gave(asked.get("gave", ""), given.rows),
            "form_ids": [uuid.uuid4().hex for _ in range(2)],
            "beside": {
                **dict.fromkeys(("newer", "older")),
                **{str(row["side"]): {"project": key["project"], **row} for row in beside.rows},
            },
            "width": WIDTH,
        },
    )


def _begin(client: ClickHouse, key: Mapping[str, str], asked: Mapping[str, str]) -> int:
    """How many spans stand before those that are shown."""
    if span := asked.get("span", ""):
        (row,) = ask(client, "spans_before", **key, span=span).rows
        return _int(row["spans"]) // SPANS * SPANS
    begin = int(asked.get("from") or 0)
    if not 0 <= begin < 2**32:
        raise ValueError(f"from={begin} is no number of spans")
    return begin


def _tokens(sampled: list[Row], asked: Mapping[str, str]) -> dict[str, object]:
    """The sampled tokens of the calls, and how they are coloured."""
    tokens = {
        row["span_id"]: tokens_of(cast("Sequence[Sequence[object]]", row["tokens"]))
        for row in sampled
    }
    annotated = any(one.gap is not None for call in tokens.values() for one in call)
    colours = (*COLOURS, *(ANNOTATED if annotated else ()))
    colour = asked.get("colour", "")
    return {
        "tokens": tokens,
        "colour": colour if colour in colours else colours[0],
        "colours": colours,
        "legends": LEGENDS,
        "asked_tokens": asked.get("tokens", ""),
    }


def _gave(span: str, rows: list[Row]) -> dict[str, object]:
    """Feedback that was just given at this page, and its row as soon as there is one."""
    if not span:
        return {}
    row = next((one for one in rows if one["span_id"] == span), None)
    return {"span": span, "row": row}


def _int(value: object) -> int:
    return int(str(value))
