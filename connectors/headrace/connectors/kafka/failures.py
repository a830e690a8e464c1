"""What librdkafka's lines say of a broker that was not entered, and what to look at. Pure."""

import re
from typing import NamedTuple

RUNS = "check that the broker runs (`headrace status` tells of the embedded one)"


class Failure(NamedTuple):
    """Why a broker could not be used."""

    words: str
    """What it did, as in "it refuses connections"."""
    remedy: str
    """What to do."""
    lasts: bool = False
    """Whether trying on is of no use until a setting is changed, here or there."""

    def __str__(self) -> str:
        return f"{self.words}; {self.remedy}"


UNKNOWN = Failure("a broker does not answer", RUNS)

_LASTS = True
# Sign, words, remedy; the first sign that is found counts. What a broker tells of passwords is in
# its answer (KIP-43, KIP-152), the rest are OpenSSL's and the system's words.
_TOLD: tuple[tuple[str, str, str, bool], ...] = (
    ("refused", "it refuses connections", RUNS, False),
    ("resolve", "its name cannot be resolved", "check [kafka] bootstrap", False),
    (
        r"Unsupported SASL mechanism: broker's supported mechanisms: (.+?)(?: \(after|$)",
        "it takes passwords by {} only",
        "set [kafka] sasl_mechanism",
        _LASTS,
    ),
    (
        "not valid in current SASL state",
        "it asks for no password",
        "set [kafka] security_protocol to PLAINTEXT or SSL",
        _LASTS,
    ),
    (
        "SASL authentication|uthentication failed",
        "it does not accept our credentials",
        "check [kafka] sasl_username, sasl_password and sasl_mechanism",
        _LASTS,
    ),
    (
        "certificate verify failed",
        "its certificate is not trusted",
        "name its authority in [kafka] ssl_ca_location, and the broker in bootstrap as its "
        "certificate does",
        _LASTS,
    ),
    (
        "certificate required|bad certificate|alert.*unknown ca|certificate unknown",
        "it does not accept our certificate",
        "check [kafka] ssl_certificate_location and ssl_key_location",
        _LASTS,
    ),
    (
        "PLAINTEXT broker",
        "it does not speak TLS",
        "check [kafka] security_protocol, and the port in bootstrap",
        _LASTS,
    ),
    (
        "isconnected|closed by peer|reset",
        "it closed the connection",
        f"{RUNS}, and that [kafka] security_protocol is what it asks for",
        False,
    ),
    ("SSL", "TLS with it fails", "check [kafka] security_protocol and the ssl_ keys", _LASTS),
    ("timed out|timeout", "it does not answer in time", RUNS, False),
    ("unreachable", "there is no way to it", "check [kafka] bootstrap and the network", False),
    ("transport failure", "it does not answer", RUNS, False),
)
_FAILURES = tuple(
    (re.compile(sign), Failure(words, remedy, lasts)) for sign, words, remedy, lasts in _TOLD
)


def failure_in(line: str) -> Failure:
    """What a line of librdkafka says, without the rest of it."""
    for sign, told in _FAILURES:
        if found := sign.search(line):
            return told._replace(words=told.words.format(*found.groups()))
    return UNKNOWN
