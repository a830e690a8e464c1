"""`/episodes/{project}/{rollout}/{attempt}`: what did the agent do, and what came of it?"""

from collections.abc import Sequence
from typing import cast

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.console.ask import Row, ask
from headrace.infra.console.render import Page
from headrace.infra.console.timeline import WIDTH, bars
from headrace.infra.console.tokens import Token, tokens

SPANS = 500


def episode(client: ClickHouse, project: str, rollout: str, attempt: str) -> Page | None:
    """The episode's page; None: no such episode."""
    key = {"project": project, "rollout": rollout, "attempt": attempt}
    head = ask(client, "episode", **key)
    if not head.rows:
        return None
    spans = ask(client, "spans", **key, limit=SPANS)
    rest = [ask(client, name, **key) for name in ("standing", "credit", "outcomes")]
    lanes = bars([(_int(row["started_at"]), _int(row["ended_at"])) for row in spans.rows])
    return Page(
        template="episode.html",
        title="Episode",
        answers=[spans, head, *rest],
        more={
            "head": head.rows[0],
            "spans": list(zip(spans.rows, lanes, map(_tokens, spans.rows), strict=True)),
            "width": WIDTH,
        },
    )


def _tokens(row: Row) -> list[Token]:
    return tokens(
        cast("Sequence[int]", row["ids"]),
        cast("Sequence[float]", row["logprobs"]),
        versions=cast("Sequence[int]", row["run_versions"]),
        lengths=cast("Sequence[int]", row["run_lengths"]),
    )


def _int(value: object) -> int:
    return int(str(value))
