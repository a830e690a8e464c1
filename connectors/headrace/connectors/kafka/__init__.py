"""Kafka: settings, reading, decoding, durable writes, dead letters and halts, on confluent-kafka.

The one place where librdkafka's settings are chosen. Imports no torch, Faust or pyarrow.
"""

from headrace.connectors.kafka.client_log import in_words
from headrace.connectors.kafka.clients import make_admin, make_consumer, make_producer, why
from headrace.connectors.kafka.config import (
    KafkaAccess,
    KafkaConfig,
    admin_settings,
    consumer_settings,
    producer_settings,
    security_settings,
)
from headrace.connectors.kafka.dead_letters import DeadLetter, DeadLetterLog, DeadLetters, letter_of
from headrace.connectors.kafka.decode import UNKNOWN_SCHEMA_S, Decoded, Decoder
from headrace.connectors.kafka.errors import (
    KafkaClientError,
    KafkaUnavailable,
    LogLost,
    TopicMismatch,
    TopicMissing,
)
from headrace.connectors.kafka.group_reader import GroupReader
from headrace.connectors.kafka.guard import Guard, make_guard
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
from headrace.connectors.kafka.letters import REPLAYABLE, Kept, kept_letters, send_again
from headrace.connectors.kafka.offsets import Offsets, Partition
from headrace.connectors.kafka.poison import PoisonCount, PoisonSettings
from headrace.connectors.kafka.reader import FORWARDED_HEADER, TICK_HEADER, LogRecord, ends_of
from headrace.connectors.kafka.registry import COMPATIBILITY, Registry, RegistryAccess, subject_of
from headrace.connectors.kafka.resuming import Resuming
from headrace.connectors.kafka.stretch import Stretch, read_stretch
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.topics import partitions_of
from headrace.connectors.kafka.waiting import Patience, Stopped
from headrace.connectors.kafka.whole_topics import WholeTopics
from headrace.connectors.kafka.writer import Outgoing, Writer

__all__ = [
    "COMPATIBILITY",
    "FORWARDED_HEADER",
    "HALTED",
    "HALTS",
    "LOG_LOST",
    "POISON",
    "REPLAYABLE",
    "RESUMED",
    "TICK_HEADER",
    "UNKNOWN_SCHEMA_S",
    "DeadLetter",
    "DeadLetterLog",
    "DeadLetters",
    "Decoded",
    "Decoder",
    "GroupReader",
    "Guard",
    "HaltLog",
    "KafkaAccess",
    "KafkaClientError",
    "KafkaConfig",
    "KafkaUnavailable",
    "Kept",
    "LogLost",
    "LogRecord",
    "Offsets",
    "Outgoing",
    "Partition",
    "Patience",
    "PoisonCount",
    "PoisonSettings",
    "Registry",
    "RegistryAccess",
    "Resuming",
    "Stopped",
    "Stretch",
    "Tailer",
    "TopicMismatch",
    "TopicMissing",
    "WholeTopics",
    "Writer",
    "accepts",
    "admin_settings",
    "consumer_settings",
    "ends_of",
    "in_words",
    "kept_letters",
    "letter_of",
    "lost_range",
    "make_admin",
    "make_consumer",
    "make_guard",
    "make_producer",
    "partitions_of",
    "producer_settings",
    "read_stretch",
    "security_settings",
    "send_again",
    "subject_of",
    "why",
]
