"""Who may ask: with keys set their bearers, else whoever is on this machine and no web page."""

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.connectors.gateway.correlation.clients import OWNER, KeyOwner
from headrace.connectors.gateway.dialects.errors import error_response, own_form
from headrace.connectors.gateway.errors import NotAuthorised, NotFromHere
from headrace.connectors.gateway.placed_keys import split_key
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

    def __init__(self, app: ASGIApp, keys: Mapping[str, str]) -> None:
        """keys: the project of each; '': any."""
        self._app = app
        self._keys, self._projects = Keys(keys), tuple(keys.values())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        key, _ = split_key(given_key(Headers(scope=scope)))
        if (which := self._keys.which(key)) is not None:
            owner = KeyOwner(number=which, project=self._projects[which])
            await self._app({**scope, OWNER: owner}, receive, send)
            return
        refusal = NotAuthorised(
            "a valid API key is needed: send it as `Authorization: Bearer KEY` "
            "(the OpenAI clients' api_key) or `x-api-key: KEY` (Anthropic's)"
        )
        await error_response(refusal, own_form(scope["path"], refusal))(scope, receive, send)
