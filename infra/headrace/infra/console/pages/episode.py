"""`/episodes/{project}/{rollout}/{attempt}`: what did the agent do, and what came of it?"""

import uuid
from collections.abc import Mapping, Sequence
from typing import cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask
from headrace.infra.console.pages.episodes import FILTERS
from headrace.infra.console.pages.listing import filters_of, kept
from headrace.infra.console.render import Page
from headrace.infra.console.timeline import WIDTH, bars
from headrace.infra.console.tokens import ANNOTATED, COLOURS, LEGENDS, MOST, shown, tokens_of
from headrace.infra.console.transcript import turns

SPANS = 500


def episode(client: ClickHouse, at: Mapping[str, str], asked: Mapping[str, str]) -> Page | None:
    """The episode's page; None: no such episode. `asked` holds the filters of the list it is in."""
    key = {name: at[name] for name in ("project", "rollout", "attempt")}
    head = ask(client, "episode", **key)
    if not head.rows:
        return None
    spans = ask(client, "spans", **key, limit=SPANS)
    standing, credit, outcomes, given = (
        ask(client, name, **key) for name in ("standing", "credit", "outcomes", "given")
    )
    filters = filters_of(asked, FILTERS)
    beside = ask(client, "beside", **key, **filters, at=head.rows[0]["log_last"])
    calls = shown(spans.rows, asked.get("tokens", ""))
    sampled = ask(client, "tokens", **key, calls=calls, most=MOST)
    tokens = {
        row["span_id"]: tokens_of(cast("Sequence[Sequence[object]]", row["tokens"]))
        for row in sampled.rows
    }
    annotated = any(one.gap is not None for call in tokens.values() for one in call)
    colours = (*COLOURS, *(ANNOTATED if annotated else ()))
    colour = asked.get("colour", "")
    return Page(
        template="episode.html",
        title="Episode",
        answers=[spans, head, standing, credit, outcomes, given, sampled, beside],
        more={
            "head": head.rows[0],
            "turns": turns(spans.rows),
            "bars": bars([(_int(row["started_at"]), _int(row["ended_at"])) for row in spans.rows]),
            "tokens": tokens,
            "colour": colour if colour in colours else colours[0],
            "colours": colours,
            "legends": LEGENDS,
            "asked_tokens": asked.get("tokens", ""),
            "kept": kept(filters),
            "gave": _gave(asked.get("gave", ""), given.rows),
            "form_ids": [uuid.uuid4().hex for _ in range(2)],
            "beside": {
                side: next(
                    (
                        {"project": key["project"], **row}
                        for row in beside.rows
                        if row["side"] == side
                    ),
                    None,
                )
                for side in ("newer", "older")
            },
            "width": WIDTH,
        },
    )


def _gave(span: str, rows: list[Row]) -> dict[str, object]:
    """Feedback that was just given at this page, and its row as soon as there is one."""
    if not span:
        return {}
    row = next((one for one in rows if one["span_id"] == span), None)
    return {"span": span, "row": row}


def _int(value: object) -> int:
    return int(str(value))
