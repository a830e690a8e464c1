"""Who asks: by its API key, else by its address; a key may also say where its calls belong."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.requests import Request

from headrace.connectors.gateway.conversation.chain import digest
from headrace.connectors.gateway.placed_keys import split_key
from headrace.connectors.http_server import given_key

OWNER = "headrace.key_owner"
"""Where the ASGI scope of a request has the owner of its key, if keys are asked for."""


@dataclass(kw_only=True, slots=True, frozen=True)
class KeyOwner:
    """Whose key it is."""

    number: int
    """Of the key, among all."""
    project: str
    """Of its calls; empty: any."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Client:
    """Who asks."""

    identity: str = ""
    """Stands for its key and address."""
    limited_as: str = ""
    """Whose requests and tokens are counted together: its key's, without keys its address's."""
    project: str = ""
    """Of its key; empty: any."""
    place: Mapping[str, str] = field(default_factory=dict)
    """project, rollout_id and attempt, where its key says them."""


def client_of(request: Request) -> Client:
    """Who sent a request."""
    key, place = split_key(given_key(request.headers))
    host = request.client.host if request.client else ""
    owner: KeyOwner | None = request.scope.get(OWNER)
    return Client(
        identity=digest(f"{key}\n{host}".encode(errors="replace")).hex(),
        limited_as=host if owner is None else f"key {owner.number}",
        project="" if owner is None else owner.project,
        place=place,
    )
