"""Any OpenAI-compatible server as a source of completions: telemetry only, no tokens kept.

Not an Engine: nothing of its distribution is known, so none of its calls is trainable.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from headrace.connectors.engines.errors import EngineError
from headrace.connectors.loopback import is_loopback_url

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""Of one answer, whole or streamed: an upstream that never ends may not fill the memory."""


class UpstreamUnavailable(EngineError):
    """The upstream did not answer; the message names it and the cause."""


@dataclass(kw_only=True, slots=True, frozen=True)
class UpstreamConfig:
    """Where the upstream is."""

    url: str
    """Base URL with /v1, as in https://api.example.com/v1."""
    api_key: str = field(default="", repr=False)
    timeout_s: float = 600.0
    """To connect, and without a byte of the answer, until the upstream counts as gone."""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"upstream url is {self.url!r}: give http://… or https://…")
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s is {self.timeout_s}: give more than 0")


@dataclass(kw_only=True, slots=True, frozen=True)
class UpstreamAnswer:
    """What the upstream said, error statuses included."""

    status: int
    body: bytes
    media_type: str = "application/json"


class UpstreamReply:
    """An answer of which status and headers are known, and the body is still to be read."""

    def __init__(self, url: str, response: httpx2.Response) -> None:
        self._url, self._response = url, response
        self.status = response.status_code
        self.media_type = response.headers.get("content-type", "application/json")

    @property
    def is_stream(self) -> bool:
        """Whether it comes as server-sent events."""
        return bool(self.media_type.lower().startswith("text/event-stream"))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes; the connection is closed at its end.

        Raises:
            UpstreamUnavailable: it broke off, stalled or is too long.
        """
        size = 0
        try:
            async for piece in self._response.aiter_bytes():
                size += len(piece)
                if size > MAX_ANSWER_BYTES:
                    raise UpstreamUnavailable(
                        f"the upstream at {self._url} answered with more than "
                        f"{MAX_ANSWER_BYTES} bytes"
                    )
                yield piece
        except httpx2.HTTPError as error:
            raise UpstreamUnavailable(
                f"the answer of the upstream at {self._url} broke off: "
                f"{error or type(error).__name__}; see its log"
            ) from error
        finally:
            await self.close()

    async def whole(self) -> UpstreamAnswer:
        """The whole answer; raises as `pieces`."""
        body = b"".join([piece async for piece in self.pieces()])
        return UpstreamAnswer(status=self.status, body=body, media_type=self.media_type)

    async def close(self) -> None:
        """Read no more of it."""
        await self._response.aclose()


class Upstream:
    """A client of one OpenAI-compatible server."""

    def __init__(self, config: UpstreamConfig) -> None:
        key = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
        self._url = config.url.rstrip("/")
        try:
            self._client = httpx2.AsyncClient(
                headers=key,
                timeout=config.timeout_s,
                trust_env=not is_loopback_url(config.url),
            )
        except (ImportError, ValueError) as error:
            raise UpstreamUnavailable(
                f"the upstream at {self._url} cannot be asked: {error}. Check the proxies that "
                "HTTP_PROXY, HTTPS_PROXY and ALL_PROXY name, or list its host in NO_PROXY"
            ) from error

    async def embeddings(self, body: Mapping[str, Any]) -> UpstreamAnswer:
        """Forward a request for embeddings.

        Raises:
            UpstreamUnavailable: no connection, or no whole answer in time.
        """
        return await self.post("embeddings", body)

    async def post(self, path: str, body: Mapping[str, Any]) -> UpstreamAnswer:
        """Forward a request to a path of its API, and read the whole answer.

        Raises:
            UpstreamUnavailable: no connection, or no whole answer.
        """
        reply = await self.open(path, body)
        return await reply.whole()

    async def open(self, path: str, body: Mapping[str, Any]) -> UpstreamReply:
        """Forward a request to a path of its API; who asks reads the answer, or closes it.

        Raises:
            UpstreamUnavailable: no connection, or no beginning of an answer in time.
        """
        url = f"{self._url}/{path}"
        try:
            request = self._client.build_request("POST", url, json=dict(body))
            return UpstreamReply(url, await self._client.send(request, stream=True))
        except httpx2.HTTPError as error:
            raise UpstreamUnavailable(
                f"no answer from the upstream at {url}: {error or type(error).__name__}; "
                "check [gateway] upstream_url and that the server runs"
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
