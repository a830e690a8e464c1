"""Each answer names its request: as the client named it, or by an id of ours."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.schemas import new_span_id

_MAX_LENGTH = 128


def given_id(headers: Headers) -> str:
    """The client's X-Request-Id; empty: none, or one that is too long or no printable ASCII."""
    given = headers.get("x-request-id", "")
    legal = len(given) <= _MAX_LENGTH and given.isascii() and given.isprintable()
    return given if legal else ""


class RequestIds:
    """ASGI middleware: x-request-id on every answer; Anthropic's clients read request-id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = given_id(Headers(scope=scope)) or f"req_{new_span_id()}"

        async def naming(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = headers["request-id"] = named
            await send(message)

        await self._app(scope, receive, naming)
