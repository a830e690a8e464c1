"""A page that says what is wrong, and what to do."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from headrace.infra.console.render import Page, html

_HINTS = {
    400: "Go back, or start from the overview.",
    403: "Whoever runs the console can make another key: `headrace console keys add`.",
    404: "It may not have reached ClickHouse yet: load this page again in a second.",
    500: "Take a smaller question: fewer rows, or a filter.",
    503: "Is headrace up? `headrace status` tells; then load this page again.",
}


def failed(request: Request, status: int, title: str, said: object, hint: str = "") -> Response:
    """The page, or a line for what asked for JSON or CSV."""
    if request.path_params.get("form") in ("json", "csv"):
        return PlainTextResponse(f"{title}: {said}\n", status)
    more = {"said": str(said), "hint": hint or _HINTS[status]}
    return html(
        request, Page(template="failed.html", title=title, answers=[], more=more, status=status)
    )
