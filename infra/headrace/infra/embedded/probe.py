"""One question of the probes: does this loopback URL answer, and with what?"""

from __future__ import annotations

import urllib.error
import urllib.request

# Parts listen on loopback: a proxy of the environment must not come between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout: float = 2.0) -> bytes | None:
    """Return the body of a 200 answer to GET, or None if there is none in time."""
    try:
        with _opener.open(url, timeout=timeout) as response:
            body: bytes = response.read()
            return body
    except (OSError, urllib.error.URLError, ValueError):
        return None
