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
from headrace.connectors.kafka.dead_letters import DeadLetter, DeadLetters
from headrace.connectors.kafka.errors import KafkaClientError, KafkaUnavailable, TopicMissing
from headrace.connectors.kafka.tailer import Tailer
from headrace.connectors.kafka.writer import Outgoing, Writer

__all__ = [
    "DeadLetter",
    "DeadLetters",
    "KafkaClientError",
    "KafkaConfig",
    "KafkaUnavailable",
    "Outgoing",
    "Tailer",
    "TopicMissing",
    "Writer",
    "admin_settings",
    "consumer_settings",
    "partitions_of",
    "producer_settings",
]
