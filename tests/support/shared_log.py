"""Reading topics that the tests of a run share: some of them write bad records on purpose."""

from typing import Any

from headrace.connectors.kafka import DeadLetterLog, KafkaConfig, partitions_of
from headrace.schemas import Codec, MalformedRecord, UnknownSchemaId


def readable(codec: Codec, topic: str, value: bytes | None) -> dict[str, Any] | None:
    """The record, or None for a tick and for what no stage could read either."""
    try:
        return codec.decode(topic, value)
    except (MalformedRecord, UnknownSchemaId):
        return None


def without_letters(kafka: KafkaConfig, topic: str, stage: str) -> int:
    """The last partition of a topic in which a stage has refused nothing, in no test before."""
    log = DeadLetterLog(kafka)
    return next(
        number
        for number in reversed(range(partitions_of(kafka, topic)))
        if not log.refused((topic, number), stage, 0)
    )
