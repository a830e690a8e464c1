"""What every answer passes: who may ask, and what a browser may do with the page."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.connectors.loopback import refusal

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]


class Guard:
    """Refuses requests of other sites' pages (rebinding too), and sends `HEADERS` with answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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

        why = refusal(scope["method"], scope["headers"])
        if why:
            await PlainTextResponse(f"not answered: {why}\n", 403)(scope, receive, sealed)
            return
        await self._app(scope, receive, sealed)
