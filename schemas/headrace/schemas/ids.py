"""Ids and partitions: fixed by whoever emits, never by position."""

import re
import secrets

from ulid import ULID

from headrace.schemas.errors import InvalidId

ID_PATTERN = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_MASK = 0xFFFFFFFF


def new_ulid() -> str:
    """A fresh ULID: 26 characters that sort by the time they were drawn."""
    return str(ULID())


def new_span_id() -> str:
    """A fresh span id: 16 hexadecimal digits, never all zeros (as in OpenTelemetry)."""
    while True:
        span_id = secrets.token_hex(8)
        if span_id != "0" * 16:
            return span_id


def check_id(value: str, what: str) -> str:
    """Return `value` if it is a legal id; raises InvalidId naming `what` otherwise."""
    if not ID_PATTERN.fullmatch(value):
        shown = value if len(value) <= 40 else value[:40] + "…"
        raise InvalidId(f"{what} {shown!r} must match {ID_PATTERN.pattern}")
    return value


def episode_id(rollout_id: str, attempt: str) -> str:
    """`{rollout_id}/{attempt}`."""
    return f"{rollout_id}/{attempt}"


def call_id(rollout_id: str, attempt: str, span_id: str) -> str:
    """`{episode_id}/{span_id}`."""
    return f"{rollout_id}/{attempt}/{span_id}"


def sample_id(rollout_id: str, attempt: str, span_id: str, choice: int = 0) -> str:
    """`{call_id}/{choice}`."""
    return f"{rollout_id}/{attempt}/{span_id}/{choice}"


def response_id(span_id: str) -> str:
    """The response id under which a client sees the call of `span_id`."""
    return f"chatcmpl-{span_id}"


RESPONSE_ID = r"(?:chatcmpl-|cmpl-|resp_|msg_)[0-9a-f]{16}"
"""Pattern of the ids that the gateway gives its responses, whatever API they answer."""
_RESPONSE = re.compile(RESPONSE_ID, re.ASCII)


def span_of_response(response: str) -> str:
    """The call's span id in a response id of the gateway; '' for another server's id."""
    return response[-16:] if _RESPONSE.fullmatch(response) else ""


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 (org.apache.kafka.common.utils.Utils.murmur2), unsigned."""
    length = len(data)
    h = (0x9747B28C ^ length) & _MASK
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little")
        k = (k * 0x5BD1E995) & _MASK
        k ^= k >> 24
        k = (k * 0x5BD1E995) & _MASK
        h = ((h * 0x5BD1E995) & _MASK) ^ k
    if tail := data[whole:]:
        h ^= int.from_bytes(tail, "little")
        h = (h * 0x5BD1E995) & _MASK
    h ^= h >> 13
    h = (h * 0x5BD1E995) & _MASK
    return h ^ (h >> 15)


def partition_of(key: str, partitions: int) -> int:
    """Partition of a rollout or group id: murmur2 mod N, as Kafka's Java client does it."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
