"""What is on this machine is never reached through a proxy.

Our own clients ask `is_loopback_url` and then leave the environment's proxies aside. What an agent
or a user's rule brings along reads NO_PROXY, so the processes that run them get the exception
there.
"""

import os
from collections.abc import Mapping, MutableMapping
from urllib.parse import urlsplit

from headrace.connectors.loopback.names import is_loopback_url

# No "[::1]", which urllib would want: older httpx raises on it for every address there is.
_LOCAL = ("localhost", "127.0.0.1", "::1", "127.0.0.0/8")
_VARIABLES = ("no_proxy", "NO_PROXY")


def exempt(environment: MutableMapping[str, str] = os.environ, *urls: str) -> None:
    """Adds this machine to NO_PROXY and no_proxy, and the hosts of those `urls` that are on it."""
    environment.update(_exceptions(environment, urls))


def with_exemption(environment: Mapping[str, str], *urls: str) -> dict[str, str]:
    """The environment with the exception (see `exempt`)."""
    return {**environment, **_exceptions(environment, urls)}


def _exceptions(environment: Mapping[str, str], urls: tuple[str, ...]) -> dict[str, str]:
    here = [urlsplit(url).hostname or "" for url in urls if is_loopback_url(url)]
    lower, upper = (environment.get(name) for name in _VARIABLES)
    return {
        name: _extended(own if own is not None else other or "", here)
        for name, own, other in zip(_VARIABLES, (lower, upper), (upper, lower), strict=True)
    }


def _extended(listing: str, hosts: list[str]) -> str:
    entries = [entry.strip() for entry in listing.split(",") if entry.strip()]
    if "*" in entries:
        return listing
    return ",".join(dict.fromkeys([*entries, *_LOCAL, *hosts]))
