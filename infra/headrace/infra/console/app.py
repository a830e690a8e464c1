"""The console as an ASGI application."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.infra.console.ask import ask
from headrace.infra.console.cells import episode_path
from headrace.infra.console.guard import Guard
from headrace.infra.console.pages.compare import compare
from headrace.infra.console.pages.episode import episode
from headrace.infra.console.pages.episodes import episodes
from headrace.infra.console.pages.groups import group, groups
from headrace.infra.console.pages.ledger import ledger
from headrace.infra.console.pages.overview import overview
from headrace.infra.console.pages.policies import policies, policy
from headrace.infra.console.pages.rewards import rewards
from headrace.infra.console.pages.streams import streams
from headrace.infra.console.pages.version import version
from headrace.infra.console.render import Page, html, respond

MakeList = Callable[[ClickHouse, Mapping[str, str]], Page]
MakeItem = Callable[[ClickHouse, Mapping[str, str], Mapping[str, str]], Page | None]

LISTS: Mapping[str, MakeList] = {
    "overview": overview,
    "episodes": episodes,
    "groups": groups,
    "policies": policies,
    "compare": compare,
    "rewards": rewards,
    "ledger": ledger,
    "streams": streams,
}
"""Pages at `/NAME`, and at `/` the first."""
ITEMS: Mapping[str, MakeItem] = {
    "/episodes/{project}/{rollout}/{attempt}": episode,
    "/groups/{project}/{group}": group,
    "/policies/{policy}": policy,
    "/policies/{policy}/{version}": version,
}
"""Pages of one thing, by their address."""


def application(client: ClickHouse) -> Starlette:
    """The pages over what `client` reads. Each also comes as JSON and as CSV."""
    routes = []
    for name, make_list in LISTS.items():
        endpoint = _endpoint(partial(_listed, client, make_list))
        routes += [Route(f"/{name}", endpoint), Route(f"/{name}.{{form}}", endpoint)]
    for path, make_item in ITEMS.items():
        endpoint = _endpoint(partial(_single, client, make_item))
        routes += [Route(path, endpoint), Route("/{form}" + path, endpoint)]
    return Starlette(
        routes=[
            Route("/", routes[0].endpoint),
            *routes,
            Route("/r/{response:path}", _endpoint(partial(_answer_of, client))),
            Route("/healthz", lambda _: PlainTextResponse("ok\n")),
            Route("/app.css", lambda _: Response(_static("app.css"), media_type="text/css")),
            Route("/mark.svg", lambda _: Response(_static("mark.svg"), media_type="image/svg+xml")),
        ],
        middleware=[Middleware(Guard)],
    )


def _listed(client: ClickHouse, make: MakeList, request: Request) -> Page:
    return make(client, request.query_params)


def _single(client: ClickHouse, make: MakeItem, request: Request) -> Page | None:
    return make(client, request.path_params, request.query_params)


def _answer_of(client: ClickHouse, request: Request) -> Response | None:
    """To the episode that an answer belongs to, by the response id that the client saw."""
    rows = ask(client, "response", response=request.path_params["response"]).rows
    if not rows:
        return None
    span = quote(str(rows[0]["span_id"]), safe="")
    return RedirectResponse(f"{episode_path(rows[0])}#span-{span}", 303)


def _endpoint(make: Callable[[Request], Page | Response | None]) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        try:
            page = make(request)
        except ValueError as error:
            return _failed(request, 400, "This address asks for nothing that can be", error)
        except ClickHouseUnavailable as error:
            return _failed(request, 503, "ClickHouse does not answer", error.said)
        except ClickHouseRejected as error:
            return _failed(request, 500, "ClickHouse refused the question", error.said)
        if page is None:
            return _failed(request, 404, "There is nothing here", request.url.path)
        return page if isinstance(page, Response) else respond(request, page)

    return endpoint


_HINTS = {
    400: "Go back, or start from the overview.",
    404: "It may not have reached ClickHouse yet: load this page again in a second.",
    500: "Take a smaller question: fewer rows, or a filter.",
    503: "Is headrace up? `headrace status` tells; then load this page again.",
}


def _failed(request: Request, status: int, title: str, said: object) -> Response:
    more = {"said": str(said), "hint": _HINTS[status]}
    return html(
        request, Page(template="failed.html", title=title, answers=[], more=more, status=status)
    )


def _static(name: str) -> str:
    return files(__package__).joinpath("static", name).read_text(encoding="utf-8")
