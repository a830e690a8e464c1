"""librdkafka's settings, chosen once."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.connectors.kafka.errors import KafkaUnavailable, TopicMissing
from headrace.schemas.topics import MAX_MESSAGE_BYTES

client_logger = logging.getLogger("headrace.connectors.kafka.client")
"""Where librdkafka's own lines go, instead of standard error."""


@dataclass(kw_only=True, slots=True, frozen=True)
class KafkaConfig:
    """How to reach the cluster."""

    bootstrap: str
    """Brokers, "host:port" separated by commas."""
    client_id: str = "headrace"
    """Name of this client in the brokers' logs."""
    delivery_timeout_ms: int = 300_000
    """How long a producer tries to deliver a record before it reports it as failed; 0: for ever.
    Long enough to sit out a broker's restart."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further librdkafka settings (security.protocol, sasl.*, ssl.*, …)."""

    def __post_init__(self) -> None:
        if not self.bootstrap.strip():
            raise ValueError('KafkaConfig.bootstrap is empty: give "host:port" of a broker')
        if self.delivery_timeout_ms < 0:
            raise ValueError(
                f"KafkaConfig.delivery_timeout_ms is {self.delivery_timeout_ms}: "
                "give milliseconds, or 0 for no limit"
            )


def _common(config: KafkaConfig) -> dict[str, Any]:
    return {
        "bootstrap.servers": config.bootstrap,
        "client.id": config.client_id,
        "logger": client_logger,
        # A broker that comes back is found within half a second, not ten.
        "reconnect.backoff.max.ms": 500,
        "topic.metadata.refresh.fast.interval.ms": 100,
        **config.extra,
    }


def admin_settings(config: KafkaConfig) -> dict[str, Any]:
    """Settings of an AdminClient."""
    return _common(config)


def producer_settings(config: KafkaConfig, **overrides: Any) -> dict[str, Any]:
    """Settings of a producer: idempotent, acks=all, lz4, records up to 8 MiB.

    `overrides` are librdkafka settings with `_` for `.`, as in `linger_ms=0`.
    """
    settings = {
        **_common(config),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 2,
        "batch.size": 1_000_000,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": config.delivery_timeout_ms,
        "retry.backoff.max.ms": 500,
    } | {name.replace("_", "."): value for name, value in overrides.items()}
    if "transactional.id" in settings:
        # A record may not outlive its transaction: librdkafka refuses a longer time-out.
        limit = settings.setdefault("transaction.timeout.ms", 60_000)
        settings["message.timeout.ms"] = min(settings["message.timeout.ms"] or limit, limit)
    return settings


def consumer_settings(
    config: KafkaConfig, *, group: str, read_committed: bool = True, **overrides: Any
) -> dict[str, Any]:
    """Settings of a consumer of `group`: from the earliest record, commits by hand, and of what
    was written in transactions the committed (rule: only committed records count).

    `overrides` are librdkafka settings with `_` for `.`, as in `enable_partition_eof=True`.
    """
    return {
        **_common(config),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
    } | {name.replace("_", "."): value for name, value in overrides.items()}


def partitions_of(config: KafkaConfig | str, topic: str, timeout: float = 10.0) -> int:
    """How many partitions the broker says a topic has (`config` may be the bootstrap alone).

    Raises:
        KafkaUnavailable: no broker answered within `timeout` seconds.
        TopicMissing: the topic does not exist.
    """
    if isinstance(config, str):
        config = KafkaConfig(bootstrap=config)
    try:
        metadata = AdminClient(admin_settings(config)).list_topics(topic, timeout=timeout)
    except KafkaException as error:
        raise KafkaUnavailable(
            f"no answer from {config.bootstrap} within {timeout:g} s: {error.args[0]}; "
            "check that the broker runs"
        ) from error
    found = metadata.topics[topic]
    if found.error is not None or not found.partitions:
        raise TopicMissing(
            f"the cluster at {config.bootstrap} has no topic {topic} ({found.error}): "
            "create the topics with `headrace up`"
        )
    return len(found.partitions)
