"""`/login`: a person gives a key once, and their browser keeps it in a cookie."""

from functools import partial
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from headrace.infra.console.gate import COOKIE
from headrace.infra.console.keys import Door
from headrace.infra.console.render import Page, html

DAYS = 30
_MOST = 8_192


class TooLong(Exception):
    """A form that is longer than any of ours."""


def routes(door: Door) -> list[Route]:
    """The login, and its end."""
    return [
        Route("/login", _asked),
        Route("/login", partial(_given, door), methods=["POST"]),
        Route("/logout", _left, methods=["POST"]),
    ]


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form. Raises TooLong."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST:
            raise TooLong(f"more than {_MOST} bytes")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace")
    return {name: values[0] for name, values in fields.items()}


def _asked(request: Request) -> Response:
    return _page(request, request.query_params.get("to", ""))


async def _given(door: Door, request: Request) -> Response:
    try:
        form = await form_of(request)
    except TooLong as error:
        return PlainTextResponse(f"{error}\n", 413)
    key = form.get("key", "").strip()
    if door.visitor(key) is None:
        return _page(request, form.get("to", ""), refused=True)
    answer = RedirectResponse(_within(form.get("to", "")), 303)
    answer.set_cookie(
        COOKIE,
        key,
        max_age=DAYS * 86_400,
        httponly=True,
        samesite="strict",
        secure=_comes_over_https(request),
    )
    return answer


def _comes_over_https(request: Request) -> bool:
    """By a proxy on this machine that says so, or by the browser's word behind any other."""
    origin = request.headers.get("origin", "")
    return request.url.scheme == "https" or origin.startswith("https://")


def _left(_: Request) -> Response:
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


def _page(request: Request, to: str, *, refused: bool = False) -> Response:
    more = {"to": _within(to), "refused": refused}
    page = Page(template="login.html", title="Log in", answers=[], more=more)
    page.status = 401 if refused else 200
    return html(request, page)


def _within(to: str) -> str:
    """A path of the console, whatever was given."""
    ours = to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable()
    return to if ours else "/"
