"""Reading topics that the tests of a run share: some of them write bad records on purpose."""

from typing import Any

from headrace.schemas import Codec, MalformedRecord, UnknownSchemaId


def readable(codec: Codec, topic: str, value: bytes | None) -> dict[str, Any] | None:
    """The record, or None for a tick and for what no stage could read either."""
    try:
        return codec.decode(topic, value)
    except (MalformedRecord, UnknownSchemaId):
        return None
