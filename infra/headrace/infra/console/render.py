"""A page as HTML, as JSON or as CSV: the same answers."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from headrace.connectors.clickhouse.values import plain
from headrace.infra.console.ask import Answer
from headrace.infra.console.cells import (
    cell,
    episode_path,
    group_path,
    text_path,
    version_path,
    versions,
)
from headrace.infra.console.gate import may, visitor_of
from headrace.infra.console.roles import Role, needed_for
from headrace.infra.terminal.signs import signs

_ENVIRONMENT = Environment(
    loader=PackageLoader("headrace.infra.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["signs"] = signs
_ENVIRONMENT.globals |= {
    "cell": cell,
    "episode_path": episode_path,
    "group_path": group_path,
    "text_path": text_path,
    "version_path": version_path,
    "versions": versions,
}
PLACES = (
    ("Overview", "/"),
    ("Rollouts", "/rollouts"),
    ("Episodes", "/episodes"),
    ("Groups", "/groups"),
    ("Policies", "/policies"),
    ("Compare", "/compare"),
    ("Rewards", "/rewards"),
    ("Ledger", "/ledger"),
    ("Streams", "/streams"),
    ("SQL", "/sql"),
)
"""The pages that the navigation names."""
TEXTS = frozenset({"detail", "message"})
"""Columns of pages with figures that may quote what somebody wrote."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(kw_only=True, slots=True)
class Page:
    """What a page shows: its template, its tables (the first is that of the CSV), and more."""

    template: str
    title: str
    answers: list[Answer]
    more: Mapping[str, object] = field(default_factory=dict)
    status: int = 200


def respond(request: Request, page: Page) -> Response:
    """The page in the form that the path's ending asks for."""
    visitor = visitor_of(request)
    if visitor is None or not visitor.role.opens(Role.VIEWER):
        page = replace(page, answers=[_without_texts(one) for one in page.answers])
    form = request.path_params.get("form", "html")
    if form == "json":
        tables = {one.name: [plain(row) for row in one.rows] for one in page.answers}
        text = json.dumps(tables, default=str, allow_nan=False)
        return Response(text, page.status, media_type="application/json")
    if form == "csv":
        return PlainTextResponse(_csv(page.answers[0]), page.status, media_type="text/csv")
    return html(request, page)


def html(request: Request, page: Page) -> HTMLResponse:
    """The page for a reader."""
    path, query = request.url.path, f"?{request.url.query}" if request.url.query else ""
    visitor = visitor_of(request)
    places = [
        (name, href)
        for name, href in PLACES
        if visitor is not None and visitor.role.opens(needed_for(href))
    ]
    text = _ENVIRONMENT.get_template(page.template).render(
        title=page.title,
        answers={one.name: one for one in page.answers},
        json=_other(path, "json") + query,
        csv=_other(path, "csv") + query,
        places=places,
        visitor=visitor,
        takes=getattr(request.app.state, "takes_feedback", False),
        gives=may(request, Role.ANNOTATOR),
        section=next((href for _, href in PLACES[1:] if path.startswith(href)), "/"),
        now=datetime.now(UTC).strftime("%H:%M:%S"),
        **page.more,
    )
    return HTMLResponse(text.encode("utf-8", "replace"), page.status)


def _without_texts(answer: Answer) -> Answer:
    rows = [{k: v for k, v in row.items() if k not in TEXTS} for row in answer.rows]
    return replace(answer, rows=rows)


def _other(path: str, form: str) -> str:
    """Where the same page is in another form: a list by its ending, else by its beginning."""
    if path.count("/") > 1:
        return f"/{form}{quote(path)}"
    return f"{path if path != '/' else '/overview'}.{form}"


def _csv(answer: Answer) -> str:
    out = io.StringIO()
    if answer.rows:
        writer = csv.writer(out)
        writer.writerow(answer.rows[0])
        writer.writerows([_cell(value) for value in row.values()] for row in answer.rows)
    return out.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would run as a formula is quoted, as OWASP advises."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
