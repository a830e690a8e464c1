"""API keys: who may ask a server that others can reach."""

import hashlib
import hmac
import secrets
from collections.abc import Collection, Mapping

from headrace.connectors.loopback import is_loopback


class Keys:
    """The keys of which a client has to send one; none: nobody has to.

    keys: as they are sent. digests: of further ones, by `digest_of`.
    """

    def __init__(self, keys: Collection[str] = (), digests: Collection[bytes] = ()) -> None:
        # Digests have one length, so the comparison tells nothing of a key's.
        self._digests = [*map(digest_of, keys), *digests]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def allow(self, given: str) -> bool:
        """Whether what was given (`given_key`) is one of them, or none is needed."""
        return not self._digests or self.which(given) is not None

    def which(self, given: str) -> int | None:
        """Which of them was given, by its place among them; None: none of them."""
        own = digest_of(given)
        # Every key is compared, whichever matches.
        matches = [hmac.compare_digest(own, digest) for digest in self._digests]
        return matches.index(True) if any(matches) else None


def given_key(headers: Mapping[str, str]) -> str:
    """The key that headers (names in lower case) hold: a bearer, or as x-api-key; '': none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        key = headers.get("x-api-key", "")  # Anthropic's clients
    return key.strip()


def bad_host(host: str, keys: Collection[str]) -> str:
    """Why a server may not listen there with these keys; empty if it may."""
    if keys or is_loopback(host):
        return ""
    return f"is {host!r}, which others can reach: set keys, or listen on 127.0.0.1"


def bad_keys(keys: Collection[str]) -> str:
    """Why these cannot be keys; empty if they can."""
    if all(one.strip() and one.isascii() and one.isprintable() for one in keys):
        return ""
    return "hold an empty one, or one with other characters than printable ASCII"


def new_key() -> str:
    """A key of 256 random bits, in letters that a header and a form can carry."""
    return secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """What of a key can be kept: SHA-256, which needs no salt for random keys of 256 bits."""
    return hashlib.sha256(key.encode()).digest()
