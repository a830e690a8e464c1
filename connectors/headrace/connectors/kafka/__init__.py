"""Kafka clients: settings, durable writes and dead letters, on confluent-kafka.

The one place where librdkafka's settings are chosen. Imports no torch, Faust or pyarrow.
"""

from headrace.connectors.kafka.config import (
    KafkaConfig,
    admin_settings,
    consumer_settings,
    partitions_of,
    producer_settings,
)
from headrace.connectors.kafka.dead_letters import DeadLetter, DeadLetters, letter_of
from headrace.connectors.kafka.errors import KafkaClientError, KafkaUnavailable, TopicMissing
from headrace.connectors.kafka.halts import (
    HALTED,
    HALTS,
    LOG_LOST,
    POISON,
    RESUMED,
    HaltLog,
    accepts,
    lost_range,
)
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.writer import Outgoing, Writer

__all__ = [
    "HALTED",
    "HALTS",
    "LOG_LOST",
    "POISON",
    "RESUMED",
    "DeadLetter",
    "DeadLetters",
    "HaltLog",
    "KafkaClientError",
    "KafkaConfig",
    "KafkaUnavailable",
    "Offsets",
    "Outgoing",
    "Partition",
    "Tailer",
    "TopicMissing",
    "Writer",
    "accepts",
    "admin_settings",
    "consumer_settings",
    "letter_of",
    "lost_range",
    "partitions_of",
    "producer_settings",
]
