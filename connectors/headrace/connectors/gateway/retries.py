"""A client's retries: with an Idempotency-Key the first answer again, without one a new call."""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from headrace.connectors.gateway.correlation import AGENT_HEADER, PLACE_HEADERS
from headrace.connectors.gateway.event_stream import EventStream

KEPT_S = 600.0
"""How long an answer is given again; OpenAI's clients wait as long for one."""
_ENTRY_BYTES = 512  # what an answer weighs beside its body


@dataclass(kw_only=True, slots=True, frozen=True)
class _Answered:
    body: bytes
    media_type: str | None
    until: float

    @property
    def size(self) -> int:
        return _ENTRY_BYTES + len(self.body)

    def response(self) -> Response:
        return Response(
            self.body, media_type=self.media_type, headers={"Idempotent-Replayed": "true"}
        )


class Retries:
    """Answers by what asked for them; who asks again while the first is answered waits for it."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._clock = max_bytes, clock
        self._answered: OrderedDict[bytes, _Answered] = OrderedDict()
        self._running: dict[bytes, asyncio.Future[None]] = {}
        self.bytes = 0

    async def once(self, key: bytes | None, answer: Callable[[], Awaitable[Response]]) -> Response:
        """The response to a request; `key` None: it is a request of its own.

        Only what was answered whole is given again: after an error a retry is a new call.
        """
        if key is None or not self._max_bytes:
            return await answer()
        while (running := self._running.get(key)) is not None:
            await asyncio.shield(running)
        self._forget()
        if (kept := self._answered.get(key)) is not None:
            return kept.response()
        ended = self._running[key] = asyncio.get_running_loop().create_future()
        try:
            response = await answer()
        except BaseException:
            self._end(key, ended)
            raise
        if isinstance(response, EventStream):
            response.copy = []
            response.held.callback(self._end, key, ended, response)
        else:
            self._end(key, ended, response)
        return response

    def _end(
        self, key: bytes, ended: "asyncio.Future[None]", response: Response | None = None
    ) -> None:
        del self._running[key]
        ended.set_result(None)
        if isinstance(response, EventStream):
            if response.is_whole:
                self._keep(key, b"".join(response.copy or ()), EventStream.media_type)
        elif response is not None and response.status_code == 200:
            self._keep(key, bytes(response.body), response.headers.get("content-type"))

    def _keep(self, key: bytes, body: bytes, media_type: str | None) -> None:
        kept = _Answered(body=body, media_type=media_type, until=self._clock() + KEPT_S)
        if kept.size <= self._max_bytes:
            self._answered[key] = kept
            self.bytes += kept.size
            self._forget()

    def _forget(self) -> None:
        """Of what is too old or too much, the oldest first."""
        now = self._clock()
        while self._answered:
            key, oldest = next(iter(self._answered.items()))
            if oldest.until > now and self.bytes <= self._max_bytes:
                return
            del self._answered[key]
            self.bytes -= oldest.size


def retry_key(request: Request, body: Mapping[str, Any]) -> bytes | None:
    """What makes two requests one: key, place, who asks and body; None without Idempotency-Key."""
    given = request.headers.get("idempotency-key", "")
    if not given:
        return None
    whose = [
        request.headers.get(name, "")
        for name in ("authorization", "x-api-key", AGENT_HEADER, *PLACE_HEADERS)
    ]
    told = json.dumps([given, request.url.path, *whose, body], sort_keys=True)
    return hashlib.sha256(told.encode()).digest()


def retries_of(request: Request) -> dict[str, Any]:
    """What the client says of its own retries, for the span."""
    count = request.headers.get("x-stainless-retry-count", "0")
    return {"headrace.retry": int(count[:6])} if count.isdigit() and count.strip("0") else {}
