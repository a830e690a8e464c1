"""Passes on to the registry what programs of this machine ask, and refuses web pages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

from headrace.connectors.loopback import refusal
from headrace.infra.embedded.lifespan import Receive, Send, live

Headers = list[tuple[bytes, bytes]]

MAX_BODY_BYTES = 32 << 20
_TIMEOUT_S = 120.0
# Of one connection and not of the message (RFC 9110, 7.6.1), and the lengths that follow from it.
_HOP = frozenset(
    [
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    ]
)
# Read here. Apicurio would compare them with its own address.
_READ_HERE = frozenset([b"host", b"origin", b"expect"])


class Front:
    """An ASGI application in front of the registry at `url`."""

    def __init__(self, url: str) -> None:
        self._client = httpx2.AsyncClient(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
        self._client.headers.clear()  # it would accept encodings that the asker does not

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await live(receive, send, self._client.aclose)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise ValueError(f"unexpected ASGI scope {scope['type']!r}")

    async def _serve(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        reason = refusal(scope["method"], scope["headers"])
        if reason is not None:
            said = f"{reason}: the registry answers programs of this machine, asked as localhost"
            await _fail(send, 403, said)
            return
        body = await _body(receive)
        if body is None:
            await _fail(send, 413, f"the body is larger than {MAX_BODY_BYTES} bytes")
            return
        await self._pass_on(scope, body, send)

    async def _pass_on(self, scope: Mapping[str, Any], body: bytes, send: Send) -> None:
        query = scope["query_string"].decode("ascii", "replace")
        path = scope["raw_path"].decode("ascii", "replace")
        request = self._client.build_request(
            scope["method"],
            httpx2.URL(path + (f"?{query}" if query else "")),
            headers=_kept(scope["headers"], _HOP | _READ_HERE),
            content=body,
        )
        try:
            answer = await self._client.send(request, stream=True)
            try:
                content = b"".join([piece async for piece in answer.aiter_raw()])
            finally:
                await answer.aclose()
        except httpx2.HTTPError as error:
            await _fail(send, 503, f"the registry does not answer yet ({type(error).__name__})")
            return
        headers = _kept(answer.headers.raw, _HOP)
        if scope["method"] != "HEAD":
            headers.append((b"content-length", str(len(content)).encode()))
        await _answer(send, answer.status_code, headers, content)


async def _body(receive: Receive) -> bytes | None:
    """The request's body; None if it is too large."""
    pieces, size = [], 0
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MAX_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return b"".join(pieces)


def _kept(headers: Iterable[tuple[bytes, bytes]], without: frozenset[bytes]) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in without]


async def _fail(send: Send, status: int, message: str) -> None:
    """An error as the Confluent API tells it."""
    content = json.dumps({"error_code": status * 100 + 1, "message": message}).encode()
    headers = [
        (b"content-type", b"application/vnd.schemaregistry.v1+json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await _answer(send, status, headers, content)


async def _answer(send: Send, status: int, headers: Headers, content: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
