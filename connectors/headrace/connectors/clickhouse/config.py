"""Where ClickHouse is and how it is entered: the section `[clickhouse]`."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from headrace.connectors.settings import check, inner, key, pem_file

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_NOT_OURS = frozenset({"default", "system", "information_schema"})


@dataclass(kw_only=True, slots=True, frozen=True)
class ClickHouseConfig:
    """Where ClickHouse is; a real server, a cluster's balancer, or the embedded server."""

    url: str = "http://127.0.0.1:8123"
    """`http://host:8123` or `https://host:8443`."""
    user: str = "default"
    """User."""
    password: str = key("", secret=True)
    """Its password."""
    database: str = "headrace"
    """Database of our tables; never `default`."""
    ssl_ca_location: str = pem_file()
    """PEM file of the authorities that an https server is checked against; empty: certifi's."""
    connect_timeout: int = inner(30)
    """Seconds to connect, and for the server to take the whole of a request's body."""
    timeout: int = inner(300)
    """Seconds to wait for an answer."""

    def __post_init__(self) -> None:
        self.check()

    def check(self, *more: tuple[str, str]) -> None:
        """Raise BadSettings for what cannot be; `more` are further faults by key."""
        late = [
            (name, f"is {getattr(self, name)}: give 1 second or more")
            for name in ("connect_timeout", "timeout")
            if getattr(self, name) < 1
        ]
        faults = (("url", bad_url(self.url)), ("database", bad_database(self.database)))
        check(self, "clickhouse", *faults, *late, *more)


def bad_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"is {_safe(url)!r}: give http://host:8123 or https://host:8443"
    if parts.username or parts.password:
        return (
            f"is {_safe(url)!r}: give user and password as settings of their own, not in the URL, "
            "where logs would show them"
        )
    return ""


def bad_database(name: str) -> str:
    if not _IDENTIFIER.fullmatch(name):
        return f"is {name!r}: give letters, digits and underscores"
    if name.lower() in _NOT_OURS:
        return f"is {name!r}, which is the server's or everybody's: give one of headrace's own"
    return ""


def _safe(url: str) -> str:
    """The URL without its credentials."""
    return re.sub(r"//[^/@]*@", "//***@", url)
