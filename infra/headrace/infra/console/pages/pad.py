"""`/sql`: a question of one's own, read-only and within limits."""

import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.errors import StatementFailed
from headrace.connectors.clickhouse.saved import SavedQuery, saved_queries
from headrace.connectors.clickhouse.sql import formatted
from headrace.infra.console.ask import LIMITS, Answer, Row, ask
from headrace.infra.console.chart import Chart, Point, chart
from headrace.infra.console.render import Page

SHOWN = 500
MOST_LINES = 4
"""Curves of a chart."""
PREFIX = "headrace-console-"
_PARAMETER = re.compile(r"\{(\w+):\s*([^{}]+)\}")


def pad(client: ClickHouse, asked: Mapping[str, str]) -> Page:
    """The answer to `q`, or to the saved query `name`; parameters are `p_NAME`.

    What ClickHouse refuses is said beside the question, which stays.
    """
    text, values, saved = _question(asked)
    query_id = asked.get("id", "")
    answers, said = [], ""
    if text and (saved is None or "run" in asked or not values):
        try:
            answers = [_answer(client, text, values, query_id)]
        except StatementFailed as error:
            said = error.said
    answers.append(ask(client, "schema"))
    return Page(
        template="pad.html",
        title="SQL",
        answers=answers,
        more={
            "text": text,
            "values": values,
            "name": saved.name if saved else "",
            "about": saved.about if saved else "",
            "saved": saved_queries(),
            "said": said,
            "chart": drawn(answers[0].rows) if text and len(answers) > 1 else None,
            "shown": SHOWN,
            "query_id": f"{PREFIX}{uuid.uuid4()}",
        },
    )


def parquet(client: ClickHouse, asked: Mapping[str, str]) -> bytes:
    """The answer of the pad as a Parquet file, within the same limits.

    Raises:
        ValueError: nothing is asked, or the query names a format of its own.
        ClickHouseUnavailable, ClickHouseRejected: as the client says.
    """
    text, values, _ = _question(asked)
    if not text:
        raise ValueError("no query is given: q=SELECT …, or name= of a saved one")
    if formatted(text):
        raise ValueError("the query names a FORMAT of its own")
    return client.query_text(f"{_bare(text)}\nFORMAT Parquet", values, _limits(client))


def drawn(rows: Sequence[Row]) -> Chart | None:
    """Curves over the first column, where all that follows in the first row tells numbers too."""
    if not 1 < len(rows) <= SHOWN:
        return None
    names = [name for name, value in rows[0].items() if _is_number(value)]
    if len(names) < 2 or names[0] != next(iter(rows[0])):
        return None
    across, *lines = names
    told = [row for row in rows if _is_number(row[across])]
    return chart(
        f"{', '.join(lines[:MOST_LINES])} by {across}",
        {
            name: sorted(
                (
                    Point(x=float(str(row[across])), y=float(str(row[name])))
                    for row in told
                    if _is_number(row[name])
                ),
                key=lambda point: point.x,
            )
            for name in lines[:MOST_LINES]
        },
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def cancel(client: ClickHouse, query_id: str) -> None:
    """Have the server end a query of the pad.

    Raises:
        ValueError: the id is none that the pad gave.
    """
    if not re.fullmatch(f"{PREFIX}[0-9a-f-]{{36}}", query_id):
        raise ValueError("no query of the pad has this id")
    client.cancel(query_id)


def _question(asked: Mapping[str, str]) -> tuple[str, dict[str, str], SavedQuery | None]:
    """The query, a value for each of its parameters, and whether it is a saved one."""
    saved = saved_queries().get(asked.get("name", ""))
    text = asked.get("q", "").replace("\r\n", "\n").strip() or (saved.sql if saved else "")
    return text, _values(text, saved, asked), saved


def _bare(text: str) -> str:
    return text.rstrip().rstrip(";")


def _answer(client: ClickHouse, text: str, values: Mapping[str, str], query_id: str) -> Answer:
    known = query_id if re.fullmatch(f"{PREFIX}[0-9a-f-]{{36}}", query_id) else ""
    rows = client.query(_bare(text), values, _limits(client), known)
    return Answer(name="answer", rows=rows, sql=text, parameters=values)


def _limits(client: ClickHouse) -> dict[str, int]:
    """What a query of anybody's runs under.

    Under readonly = 2 it could read files of the server and lift its own limits. A user whose
    profile is read-only already may not change that, and has the rights that it was given.
    """
    (own,) = client.query("SELECT getSetting('readonly') AS readonly")
    return LIMITS if own["readonly"] else LIMITS | {"readonly": 1}


def _values(text: str, saved: SavedQuery | None, asked: Mapping[str, str]) -> dict[str, str]:
    """A value for each parameter that the text names."""
    defaults = saved.values() if saved else {}
    names = dict.fromkeys(found[1] for found in _PARAMETER.finditer(text))
    return {name: asked.get(f"p_{name}", defaults.get(name, "")) for name in names}
