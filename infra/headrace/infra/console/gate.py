"""What every answer passes: who may ask, and what a browser may do with the page."""

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.connectors.http_server import given_key
from headrace.connectors.loopback import is_loopback, refusal
from headrace.infra.console.keys import Door
from headrace.infra.console.roles import ANYBODY, Role, Visitor

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer a form's Origin would be null
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
COOKIE = "headrace_console"
OPEN_PATHS = frozenset({"/healthz", "/login", "/app.css", "/console.js", "/mark.svg"})
"""What has nothing of the tables on it."""
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
_VISITOR = "headrace.visitor"
_MOST_KEPT = 2_000
"""Characters of an address that the login leads back to; of a longer one, to the overview."""


class Gate:
    """Refuses requests of other sites' pages (rebinding too) and of those without a key, and sends
    `HEADERS` with answers.

    door: who is let in; None: everybody. ours: as of `refusal`.
    """

    def __init__(
        self, app: ASGIApp, door: Door | None = None, ours: Callable[[str], bool] = is_loopback
    ) -> None:
        self._app = app
        self._door = door
        self._ours = ours

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in _RAW}
                kept = [pair for pair in message.get("headers", []) if pair[0] not in own]
                message["headers"] = [*kept, *_RAW]
            await send(message)

        why = refusal(scope["method"], scope["headers"], self._ours)
        if why:
            await PlainTextResponse(f"not answered: {why}\n", 403)(scope, receive, sealed)
            return
        visitor = ANYBODY if self._door is None else self._door.visitor(key_of(scope))
        if visitor is not None:
            scope = {**scope, _VISITOR: visitor}
        elif scope["path"] not in OPEN_PATHS:
            await _without_key(scope)(scope, receive, sealed)
            return
        await self._app(scope, receive, sealed)


def visitor_of(request: HTTPConnection) -> Visitor | None:
    """Who asks; None: somebody without a key, on a path that needs none."""
    found: Visitor | None = request.scope.get(_VISITOR)
    return found


def may(request: HTTPConnection, needed: Role) -> bool:
    """Whether who asks has that role."""
    visitor = visitor_of(request)
    return visitor is not None and visitor.role.opens(needed)


def key_of(scope: Scope) -> str:
    """The key that a request brings, as a bearer or in the cookie of the login; '': none."""
    return given_key(Headers(scope=scope)) or HTTPConnection(scope).cookies.get(COOKIE, "")


def own_names(names: Collection[str]) -> Callable[[str], bool]:
    """Whether a Host is one of ours beyond loopback: one of the names, or any address.

    An address cannot be rebound: a page elsewhere that names one is of another origin.
    """
    known = {name.lower() for name in names}

    def ours(host: str) -> bool:
        return host.lower() in known or is_loopback(host) or _is_address(host)

    return ours


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _without_key(scope: Scope) -> Response:
    """To the login for a person who reads, and the word for a program."""
    headers = Headers(scope=scope)
    if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
        query = scope["query_string"].decode("latin-1")
        asked = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        if len(asked) > _MOST_KEPT:
            asked = "/"
        return RedirectResponse(f"/login?to={quote(asked, safe='/')}", 303)
    return PlainTextResponse(
        "a key is needed: send it as `Authorization: Bearer KEY`, or log in at /login\n",
        401,
        {"www-authenticate": "Bearer"},
    )
