"""Errors of the Kafka clients.

KafkaClientError
├── KafkaUnavailable   no broker answered, or a record was not acknowledged in time: try again
├── LogLost            the log no longer holds what is to be read next
├── TopicMissing       the topic does not exist on the cluster
└── TopicMismatch      a topic exists with other properties than asked
"""

from headrace.schemas import Unavailable


class KafkaClientError(Exception):
    """Root of the errors of `headrace.connectors.kafka`."""


class KafkaUnavailable(KafkaClientError, Unavailable):
    """No broker answered in time; retry with the same bytes."""


class LogLost(KafkaClientError):
    """The log does not hold the offset that a reader is to read next."""


class TopicMissing(KafkaClientError):
    """The cluster has no such topic."""


class TopicMismatch(KafkaClientError):
    """A topic exists with other properties than the ones asked for."""
