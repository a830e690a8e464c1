"""The console as an ASGI application."""

from collections.abc import AsyncIterator, Callable, Mapping
from functools import cache, partial
from importlib.resources import files
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.connectors.clickhouse.errors import StatementFailed
from headrace.connectors.loopback import is_loopback
from headrace.infra.console.around import Look, nothing_known
from headrace.infra.console.ask import ask
from headrace.infra.console.cells import episode_path
from headrace.infra.console.failed import failed
from headrace.infra.console.feedback import route as feedback_route
from headrace.infra.console.gate import Gate, may
from headrace.infra.console.gateway import Gateway
from headrace.infra.console.keys import Door
from headrace.infra.console.live import TooManyStreams, Watcher
from headrace.infra.console.login import TooLong, form_of
from headrace.infra.console.login import routes as login_routes
from headrace.infra.console.pages.compare import compare
from headrace.infra.console.pages.episode import episode
from headrace.infra.console.pages.episodes import episodes
from headrace.infra.console.pages.groups import group, groups
from headrace.infra.console.pages.ledger import ledger
from headrace.infra.console.pages.overview import overview
from headrace.infra.console.pages.pad import cancel, pad, parquet
from headrace.infra.console.pages.policies import policies, policy
from headrace.infra.console.pages.rewards import rewards
from headrace.infra.console.pages.rollouts import rollouts
from headrace.infra.console.pages.streams import streams
from headrace.infra.console.pages.text import text
from headrace.infra.console.pages.version import version
from headrace.infra.console.render import Page, respond
from headrace.infra.console.roles import Role, needed_for

_FILES = {
    "app.css": "text/css",
    "console.js": "text/javascript",
    "mark.svg": "image/svg+xml",
}


class _Form(StringConvertor):
    """What a page comes as, beside HTML; another ending or beginning is no page."""

    regex = "json|csv"


register_url_convertor("form", _Form())
MakeList = Callable[[ClickHouse, Mapping[str, str]], Page]
MakeItem = Callable[[ClickHouse, Mapping[str, str], Mapping[str, str]], Page | None]

LISTS: Mapping[str, MakeList] = {
    "overview": overview,
    "rollouts": rollouts,
    "episodes": episodes,
    "groups": groups,
    "policies": policies,
    "compare": compare,
    "rewards": rewards,
    "ledger": ledger,
    "streams": partial(streams, nothing_known),
    "sql": pad,
}
"""Pages at `/NAME`, and at `/` the first."""
ITEMS: Mapping[str, MakeItem] = {
    "/episodes/{project}/{rollout}/{attempt}": episode,
    "/texts/{project}/{rollout}/{attempt}/{part}": text,
    "/texts/{project}/{rollout}/{attempt}/{part}/{span}": text,
    "/groups/{project}/{group}": group,
    "/policies/{policy:path}/{version:int}": version,
    "/policies/{policy:path}": policy,
}
"""Pages of one thing, by their address."""


def application(
    client: ClickHouse,
    look: Look = nothing_known,
    door: Door | None = None,
    ours: Callable[[str], bool] = is_loopback,
    gateway: Gateway | None = None,
) -> Starlette:
    """The pages over what `client` reads, and over what `look` tells of this machine.

    Each also comes as JSON and as CSV. door: who is let in; None: everybody. ours: whether a
    request's Host is a name of this console. gateway: takes feedback; None: nobody does.
    """
    routes = [Route("/sql.parquet", _endpoint(Role.SQL, partial(_parquet, client)))]
    watcher = Watcher(client)
    lists: dict[str, MakeList] = {**LISTS, "streams": partial(streams, look)}
    for name, make_list in lists.items():
        endpoint = _endpoint(needed_for(f"/{name}"), partial(_listed, client, make_list))
        routes += [Route(f"/{name}", endpoint), Route(f"/{name}.{{form:form}}", endpoint)]
    for path, make_item in ITEMS.items():
        endpoint = _endpoint(needed_for(path), partial(_single, client, make_item))
        routes += [Route(path, endpoint), Route("/{form:form}" + path, endpoint)]
    app = Starlette(
        routes=[
            Route("/", _endpoint(needed_for("/"), partial(_listed, client, overview))),
            *routes,
            *(login_routes(door) if door is not None else ()),
            Route("/r/{response:path}", _endpoint(Role.VIEWER, partial(_answer_of, client))),
            Route("/events", partial(_events, watcher)),
            *((feedback_route(gateway),) if gateway is not None else ()),
            Route("/sql/cancel", partial(_cancelled, client), methods=["POST"]),
            Route("/healthz", lambda _: PlainTextResponse("ok\n")),
            *(Route(f"/{name}", partial(_file, name, kind)) for name, kind in _FILES.items()),
        ],
        middleware=[Middleware(Gate, door=door, ours=ours)],
    )
    app.state.takes_feedback = gateway is not None
    app.state.watcher = watcher
    return app


def _listed(client: ClickHouse, make: MakeList, request: Request) -> Page:
    return make(client, request.query_params)


def _single(client: ClickHouse, make: MakeItem, request: Request) -> Page | None:
    return make(client, request.path_params, request.query_params)


async def _events(watcher: Watcher, _: Request) -> Response:
    try:
        stream = watcher.follow()
        first = await anext(stream)
    except TooManyStreams as error:
        return PlainTextResponse(f"{error}\n", 503)
    return StreamingResponse(_after(first, stream), media_type="text/event-stream")


async def _after(first: str, rest: AsyncIterator[str]) -> AsyncIterator[str]:
    yield first
    async for event in rest:
        yield event


async def _cancelled(client: ClickHouse, request: Request) -> Response:
    if not may(request, Role.SQL):
        return PlainTextResponse(f"only a key of the role {Role.SQL} ends a query\n", 403)
    try:
        query_id = (await form_of(request)).get("id", "")
        await run_in_threadpool(cancel, client, query_id)
    except TooLong as error:
        return PlainTextResponse(f"{error}\n", 413)
    except ValueError as error:
        return PlainTextResponse(f"{error}\n", 400)
    except StatementFailed as error:
        return PlainTextResponse(f"{error.said}\n", 503)
    return PlainTextResponse("told to end\n", 202)


def _parquet(client: ClickHouse, request: Request) -> Response:
    name = {"content-disposition": 'attachment; filename="answer.parquet"'}
    found = parquet(client, request.query_params)
    return Response(found, headers=name, media_type="application/vnd.apache.parquet")


def _answer_of(client: ClickHouse, request: Request) -> Response | None:
    """To the episode that an answer belongs to, by the response id that the client saw."""
    rows = ask(client, "response", response=request.path_params["response"]).rows
    if not rows:
        return None
    span = quote(str(rows[0]["span_id"]), safe="")
    return RedirectResponse(f"{episode_path(rows[0])}?span={span}#span-{span}", 303)


def _endpoint(
    needed: Role, make: Callable[[Request], Page | Response | None]
) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        if not may(request, needed):
            return failed(request, 403, "Your key does not open this page", f"role {needed}")
        try:
            page = make(request)
        except ValueError as error:
            return failed(request, 400, "This address asks for nothing that can be", error)
        except ClickHouseUnavailable as error:
            return failed(request, 503, "ClickHouse does not answer", error.said)
        except ClickHouseRejected as error:
            return failed(request, 500, "ClickHouse refused the question", error.said)
        if page is None:
            return failed(request, 404, "There is nothing here", request.url.path)
        return page if isinstance(page, Response) else respond(request, page)

    return endpoint


def _file(name: str, kind: str, _: Request) -> Response:
    return Response(_static(name), media_type=kind)


@cache
def _static(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()
