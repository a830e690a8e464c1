"""The console as an ASGI application."""

from collections.abc import Callable
from importlib.resources import files

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from headrace.connectors.clickhouse import ClickHouse, ClickHouseRejected, ClickHouseUnavailable
from headrace.infra.console.guard import Guard
from headrace.infra.console.pages.episode import episode
from headrace.infra.console.pages.episodes import episodes
from headrace.infra.console.pages.overview import overview
from headrace.infra.console.render import Page, html, respond


def application(client: ClickHouse) -> Starlette:
    """The pages over what `client` reads. Each also ends in `.json` and `.csv`."""

    def show(make: Callable[[Request], Page | None]) -> Callable[[Request], Response]:
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
                return _failed(request, 404, "There is no such episode", request.url.path)
            return respond(request, page)

        return endpoint

    def one(request: Request) -> Page | None:
        at = request.path_params
        return episode(client, at["project"], at["rollout"], at["attempt"])

    first, list_of, single = (
        show(lambda _: overview(client)),
        show(lambda request: episodes(client, request.query_params)),
        show(one),
    )
    key = "/{project}/{rollout}/{attempt}"
    return Starlette(
        routes=[
            Route("/", first),
            Route("/overview.{form}", first),
            Route("/episodes", list_of),
            Route("/episodes.{form}", list_of),
            Route("/episodes" + key, single),
            Route("/{form}/episodes" + key, single),
            Route("/healthz", lambda _: PlainTextResponse("ok\n")),
            Route("/app.css", lambda _: Response(_style(), media_type="text/css")),
        ],
        middleware=[Middleware(Guard)],
    )


def _failed(request: Request, status: int, title: str, said: object) -> Response:
    more = {"said": str(said)}
    return html(
        request, Page(template="failed.html", title=title, answers=[], more=more, status=status)
    )


def _style() -> str:
    return files(__package__).joinpath("static", "app.css").read_text(encoding="utf-8")
