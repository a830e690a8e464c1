"""Which requests a server on loopback answers while nobody needs a key.

A browser on this machine reaches loopback for any web page it shows: by a form or a script of
another site, or under that site's own name once its DNS answers 127.0.0.1 (DNS rebinding). Browsers
tell both apart by Host, Origin and Sec-Fetch-Site; other clients send no Origin and a loopback
Host, and pass.
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from headrace.connectors.loopback.names import is_loopback

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%\w]+\]|[^\[\]:@/\\\s]+)(?::\d*)?")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(
    method: str,
    headers: Iterable[tuple[bytes, bytes]],
    ours: Callable[[str], bool] = is_loopback,
) -> str | None:
    """Why a request is not answered (403), or None.

    Args:
        method: the request's, in capitals.
        headers: names in lower case, as in an ASGI scope.
        ours: whether a name or an address, without a port, is one that the server answers to.
    """
    pairs = [(name, value.decode("latin-1").strip()) for name, value in headers]
    hosts = [value for name, value in pairs if name == b"host"]
    for host in hosts:
        if not _is_of(host, ours):
            return f"the Host {host!r} is not this machine's own name"
    sites = {value.lower() for name, value in pairs if name == b"sec-fetch-site"}
    if "cross-site" in sites:
        return "a page of another site may not ask (Sec-Fetch-Site: cross-site)"
    for origin in (value for name, value in pairs if name == b"origin"):
        if not _is_origin_of(origin, ours):
            return f"the Origin {origin!r} is not on this machine"
        if method not in _READING and not _is_same(origin, hosts):
            return f"a page of {origin} may read here and not write"
    if method not in _READING and "same-site" in sites:
        return "a page of another port may read here and not write (Sec-Fetch-Site: same-site)"
    return None


def _is_of(host: str, ours: Callable[[str], bool]) -> bool:
    found = _HOST.fullmatch(host)
    return found is not None and ours(found[1])


def _is_origin_of(origin: str, ours: Callable[[str], bool]) -> bool:
    scheme, separator, rest = origin.partition("://")
    return scheme.lower() in ("http", "https") and bool(separator) and _is_of(rest, ours)


def _is_same(origin: str, hosts: list[str]) -> bool:
    own = urlsplit(origin.lower()).netloc
    return [own] == [host.lower() for host in hosts]
