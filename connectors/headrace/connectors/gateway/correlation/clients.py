"""Who asks: by its API key, else by its address; a key may also say where its calls belong."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from headrace.connectors.gateway.conversation.chain import digest
from headrace.connectors.http_server import given_key

_PLACED = re.compile(
    r"(?P<key>.*?)(?:/p/(?P<project>[^/]+))?/rollout/(?P<rollout_id>[^/]+)/attempt/(?P<attempt>[^/]+)"
)
"""An API key with an attempt behind it, as the base URL has it before /v1."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Client:
    """Who asks."""

    identity: str
    """Stands for its key and address."""
    place: Mapping[str, str] = field(default_factory=dict)
    """project, rollout_id and attempt, where its key says them."""


def split_key(given: str) -> tuple[str, Mapping[str, str]]:
    """An API key as it was sent: the key itself, and the place that it names."""
    placed = _PLACED.fullmatch(given)
    if placed is None:
        return given, {}
    named = {name: value for name, value in placed.groupdict().items() if value and name != "key"}
    return placed["key"], named


def client_of(request: Request) -> Client:
    """Who sent a request."""
    key, place = split_key(given_key(request.headers))
    host = request.client.host if request.client else ""
    return Client(identity=digest(f"{key}\n{host}".encode(errors="replace")).hex(), place=place)
