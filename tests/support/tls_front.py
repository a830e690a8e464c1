"""A server of HTTPS in front of a plain one, which asks for a user and a password.

What many deployments have before a registry or ClickHouse, and what their clouds look like.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx2
import uvicorn

from headrace.infra.embedded import ports
from headrace.infra.embedded.lifespan import Receive, Send, live
from tests.support.certificates import Identity
from tests.support.waiting import wait_until

_HOP = frozenset([b"connection", b"keep-alive", b"te", b"transfer-encoding", b"content-length"])
Refusal = tuple[int, bytes, bytes]
"""Status, content type and body of an answer to whoever may not enter."""


def of_a_registry(_user: str) -> Refusal:
    """As Confluent's registry says it."""
    body = json.dumps({"error_code": 401, "message": "Unauthorized"}).encode()
    return 401, b"application/vnd.schemaregistry.v1+json", body


def of_clickhouse(user: str) -> Refusal:
    """As a ClickHouse server says it."""
    said = (
        f"Code: 516. DB::Exception: {user}: Authentication failed: password is incorrect, or there "
        "is no user with such name. (AUTHENTICATION_FAILED) (version 26.5.1.1)\n"
    )
    return 403, b"text/plain; charset=UTF-8", said.encode()


@contextmanager
def tls_front(
    backend: str, identity: Identity, refusal: Callable[[str], Refusal], *, user: str, password: str
) -> Iterator[str]:
    """`https://127.0.0.1:PORT` before `backend` (`http://host:port`), until the block ends."""
    port = ports.free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            _Front(backend, refusal, f"{user}:{password}"),
            host="127.0.0.1",
            port=port,
            ssl_certfile=identity.certificate,
            ssl_keyfile=identity.key,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, "the server of HTTPS")
        yield f"https://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


class _Front:
    """An ASGI application."""

    def __init__(self, backend: str, refusal: Callable[[str], Refusal], entry: str) -> None:
        self._client = httpx2.AsyncClient(base_url=backend, timeout=120.0, trust_env=False)
        self._client.headers.clear()
        self._refusal = refusal
        self._entry = entry

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send, self._client.aclose)
            return
        body = await _body(receive)
        asked = _entry(dict(scope["headers"]))
        if asked != self._entry:
            status, kind, said = self._refusal(asked.partition(":")[0])
            await send(_start(status, [(b"content-type", kind)]))
            await send({"type": "http.response.body", "body": said})
            return
        headers = [
            (name, value)
            for name, value in scope["headers"]
            if name not in _HOP | {b"host", b"authorization"}
        ]
        target = scope["raw_path"].decode() + "?" + scope["query_string"].decode()
        request = self._client.build_request(
            scope["method"], httpx2.URL(target.rstrip("?")), headers=headers, content=body
        )
        answer = await self._client.send(request, stream=True)
        try:
            kept = [one for one in answer.headers.raw if one[0].lower() not in _HOP]
            await send(_start(answer.status_code, kept))
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _entry(headers: Mapping[bytes, bytes]) -> str:
    """What an asker shows, as "user:password"; empty for nothing."""
    kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
    return base64.b64decode(shown).decode() if kind.lower() == b"basic" else ""


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
