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
from headrace.connectors.kafka.errors import (
    ClientFailed,
    KafkaClientError,
    KafkaUnavailable,
    TopicMismatch,
    TopicMissing,
)
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
from headrace.connectors.kafka.registry import COMPATIBILITY, Registry, subject_of
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.writer import Outgoing, Writer

__all__ = [
    "COMPATIBILITY",
    "HALTED",
    "HALTS",
    "LOG_LOST",
    "POISON",
    "RESUMED",
    "ClientFailed",
    "DeadLetter",
    "DeadLetters",
    "HaltLog",
    "KafkaClientError",
    "KafkaConfig",
    "KafkaUnavailable",
    "Offsets",
    "Outgoing",
    "Partition",
    "Registry",
    "Tailer",
    "TopicMismatch",
    "TopicMissing",
    "Writer",
    "accepts",
    "admin_settings",
    "consumer_settings",
    "letter_of",
    "lost_range",
    "partitions_of",
    "producer_settings",
    "subject_of",
]
