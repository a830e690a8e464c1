"""The acknowledged part of `headrace.spans`, read outside any consumer group."""

from headrace.connectors.kafka import (
    DeadLetterLog,
    KafkaConfig,
    Offsets,
    Stretch,
    partitions_of,
)
from headrace.schemas.topics import Topic


def acknowledged(config: KafkaConfig, topic: str, group: str) -> Stretch:
    """What a consumer group has acknowledged of a topic. Raises KafkaUnavailable."""
    offsets = Offsets(config)
    partitions = [(topic, number) for number in range(partitions_of(config, topic))]
    committed = offsets.committed(group, partitions)
    starts = offsets.starts(partitions)
    ends = {each: max(committed.get(each, 0), starts[each]) for each in partitions}
    return Stretch(starts=starts, ends=ends)


def dead_letters(config: KafkaConfig, partition: int, stage: str) -> frozenset[int]:
    """Offsets of a partition of `headrace.spans` whose records a stage set aside."""
    return frozenset(DeadLetterLog(config).refused((Topic.SPANS, partition), stage, 0))
