"""Who may ask: with keys set their bearers, else whoever is on this machine and no web page."""

from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.connectors.gateway.correlation.clients import split_key
from headrace.connectors.gateway.dialects.errors import error_response, own_form
from headrace.connectors.gateway.errors import NotAuthorised, NotFromHere
from headrace.connectors.http_server import Keys, given_key
from headrace.connectors.loopback import refusal

OPEN_PATHS = frozenset({"/healthz"})


class LocalOnly:
    """ASGI middleware, while there are no keys: refuses what a web page elsewhere may have sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reason = refusal(scope["method"], scope["headers"]) if scope["type"] == "http" else None
        if reason is None:
            await self._app(scope, receive, send)
            return
        error = NotFromHere(
            f"{reason}: without keys the gateway answers this machine alone. Ask as localhost, "
            "or set HEADRACE_GATEWAY_KEYS"
        )
        await error_response(error, own_form(scope["path"], error))(scope, receive, send)


class RequireKey:
    """ASGI middleware: every path but the health check needs one of the keys."""

    def __init__(self, app: ASGIApp, keys: Collection[str]) -> None:
        self._app = app
        self._keys = Keys(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        refusal = NotAuthorised(
            "a valid API key is needed: send it as `Authorization: Bearer KEY` "
            "(the OpenAI clients' api_key) or `x-api-key: KEY` (Anthropic's)"
        )
        await error_response(refusal, own_form(scope["path"], refusal))(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        key, _ = split_key(given_key(Headers(scope=scope)))
        return self._keys.allow(key)
