"""Any OpenAI-compatible server as a source of completions: telemetry only, no tokens kept.

Not an Engine: nothing of its distribution is known, so none of its calls is trainable.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from headrace.connectors.engines.errors import EngineError
from headrace.connectors.loopback import is_loopback_url


class UpstreamUnavailable(EngineError):
    """The upstream did not answer; the message names it and the cause."""


@dataclass(kw_only=True, slots=True, frozen=True)
class UpstreamConfig:
    """Where the upstream is."""

    url: str
    """Base URL with /v1, as in https://api.example.com/v1."""
    api_key: str = field(default="", repr=False)
    timeout_s: float = 600.0
    """For a whole answer, as the OpenAI clients wait."""

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
            UpstreamUnavailable: no connection, or no whole answer in time.
        """
        url = f"{self._url}/{path}"
        try:
            response = await self._client.post(url, json=dict(body))
        except httpx2.HTTPError as error:
            raise UpstreamUnavailable(
                f"no answer from the upstream at {url}: {error or type(error).__name__}; "
                "check [gateway] upstream_url and that the server runs"
            ) from error
        media_type = response.headers.get("content-type", "application/json")
        return UpstreamAnswer(
            status=response.status_code, body=response.content, media_type=media_type
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
