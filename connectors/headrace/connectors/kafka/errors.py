"""Errors of the Kafka clients.

KafkaClientError
├── KafkaUnavailable   no broker answered, or a record was not acknowledged in time: try again
└── TopicMissing       the topic does not exist on the cluster
"""


class KafkaClientError(Exception):
    """Root of the errors of `headrace.connectors.kafka`."""


class KafkaUnavailable(KafkaClientError):
    """No broker answered in time; retry with the same bytes."""


class TopicMissing(KafkaClientError):
    """The cluster has no such topic."""
