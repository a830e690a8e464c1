"""The topics, as data, their creation, and their partitions."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException

# Public names, but not in an __all__.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    ConfigResource,
    NewTopic,
)

from headrace.connectors.kafka.clients import FORBIDDEN, is_refused, make_admin, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable, TopicMismatch, TopicMissing
from headrace.schemas.topics import MAX_MESSAGE_BYTES, Topic, dead_letters_of

logger = logging.getLogger(__name__)

DEFAULT_PARTITIONS = 8
_TIMEOUT_S = 30.0
_SOON_S, _LEAST_S = 2.0, 0.1


@dataclass(kw_only=True, slots=True, frozen=True)
class TopicSpec:
    """One topic: how it is cut, cleaned and keyed."""

    name: str
    partitions: int | None = None
    """A fixed count, or None for the count of the setting."""
    cleanup: Literal["delete", "compact"] = "delete"
    key: str
    """What decides a record's partition."""

    def count(self, partitions: int) -> int:
        """Return its number of partitions where the setting says `partitions`."""
        return partitions if self.partitions is None else self.partitions

    @property
    def config(self) -> dict[str, str]:
        """The topic's own settings on the broker."""
        return {
            "cleanup.policy": self.cleanup,
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(MAX_MESSAGE_BYTES),
        }


STREAMS = (
    TopicSpec(name=Topic.TASKS, key="rollout_id"),
    TopicSpec(name=Topic.SPANS, key="rollout_id"),
    TopicSpec(name=Topic.EPISODES, key="group_id"),
    TopicSpec(name=Topic.SAMPLES, key="group_id"),
    TopicSpec(name=Topic.CREDITS, key="group_id"),
    TopicSpec(
        name=Topic.POLICIES,
        partitions=1,
        cleanup="compact",
        key="{policy}/version/{n} or {policy}/traffic",
    ),
    TopicSpec(name=Topic.OUTCOMES, key="sample_id"),
    TopicSpec(
        name=Topic.HALTS,
        partitions=1,
        cleanup="compact",
        key="{group}/{topic}/{partition}/{offset}",
    ),
)
"""What the parts write and read."""

DEAD_LETTERS = tuple(
    TopicSpec(name=dead_letters_of(stream.name), partitions=1, key="source topic/partition/offset")
    for stream in STREAMS
)
"""One dead-letter topic for each stream."""

TOPICS = STREAMS + DEAD_LETTERS


def create_topics(
    kafka: KafkaConfig | str,
    partitions: int = DEFAULT_PARTITIONS,
    replication: int = 0,
    timeout: float = _TIMEOUT_S,
) -> None:
    """Create the topics that are missing and check the ones that are there.

    kafka: may be the bootstrap alone. replication: brokers that hold each partition; 0: as many as
    the cluster's default says. timeout: seconds for an answer. Safe to call again and from several
    processes at once.

    Raises:
        TopicMismatch: a topic exists with another partition count or other settings.
        KafkaUnavailable: the cluster refused or did not answer.
    """
    config = KafkaConfig(bootstrap=kafka) if isinstance(kafka, str) else kafka
    bootstrap = config.bootstrap
    admin = make_admin(config)
    existing = _metadata(config, admin, timeout)
    try:
        wanted = [spec for spec in TOPICS if spec.name not in existing]
        _create(admin, wanted, partitions, replication)
        found = admin.list_topics(timeout=timeout).topics
        for spec in TOPICS:
            if spec.name in existing:
                _check_count(spec, len(found[spec.name].partitions), partitions, bootstrap)
        _check_settings(admin, [spec for spec in TOPICS if spec.name in existing], bootstrap)
    except KafkaException as error:
        raise KafkaUnavailable(
            f"cannot create the topics on {bootstrap}: {why(config, error, admin)}"
        ) from error


def topics_of(config: KafkaConfig, timeout: float = 10.0) -> set[str]:
    """The topics of ours that the cluster has and this user sees.

    Raises:
        KafkaUnavailable: no broker answered within `timeout` seconds, or let us in.
    """
    return {str(spec.name) for spec in TOPICS} & _metadata(
        config, make_admin(config), timeout
    ).keys()


def _create(admin: Any, specs: list[TopicSpec], partitions: int, replication: int) -> None:
    if not specs:
        return
    new = [
        NewTopic(
            spec.name,
            num_partitions=spec.count(partitions),
            replication_factor=replication or -1,
            config=spec.config,
        )
        for spec in specs
    ]
    for name, future in admin.create_topics(new, operation_timeout=_TIMEOUT_S).items():
        try:
            future.result()
            logger.info("created topic %s", name)
        except KafkaException as error:
            # Somebody else creates them at the same moment.
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise


def _check_count(spec: TopicSpec, found: int, partitions: int, bootstrap: str) -> None:
    if found != spec.count(partitions):
        raise TopicMismatch(
            f"topic {spec.name} on {bootstrap} has {found} partitions, the setting asks for "
            f"{spec.count(partitions)}: set [kafka] partitions to the count the topics were made "
            "with (the partition of a rollout may not change), or use another cluster"
        )


def _check_settings(admin: Any, specs: list[TopicSpec], bootstrap: str) -> None:
    resources = [ConfigResource(ConfigResource.Type.TOPIC, str(spec.name)) for spec in specs]
    by_name = {spec.name: spec for spec in specs}
    if not resources:
        return
    for resource, future in admin.describe_configs(resources).items():
        entries: dict[str, Any] = future.result()
        for key, wanted in by_name[resource.name].config.items():
            found = entries[key].value
            enough = key == "max.message.bytes" and int(found) >= int(wanted)
            if found != wanted and not enough:
                raise TopicMismatch(
                    f"topic {resource.name} on {bootstrap} has {key}={found}, headrace needs "
                    f"{key}={wanted}: alter the topic's configuration"
                )


def partitions_of(config: KafkaConfig | str, topic: str, timeout: float = 10.0) -> int:
    """How many partitions the broker says a topic has (`config` may be the bootstrap alone).

    Raises:
        KafkaUnavailable: no broker answered within `timeout` seconds, or let us in.
        TopicMissing: the topic does not exist.
    """
    if isinstance(config, str):
        config = KafkaConfig(bootstrap=config)
    found = _metadata(config, make_admin(config), timeout, topic)[topic]
    if found.error is not None and found.error.code() in FORBIDDEN:
        raise KafkaUnavailable(f"{topic} on {config.bootstrap}: {why(config, found.error)}")
    if found.error is not None or not found.partitions:
        raise TopicMissing(
            f"the cluster at {config.bootstrap} has no topic {topic}: "
            "create the topics with `headrace up`"
        )
    return len(found.partitions)


def _metadata(
    config: KafkaConfig, admin: Any, timeout: float, topic: str | None = None
) -> Mapping[str, Any]:
    """What the cluster tells of one topic, or of all.

    A broker that starts is waited for, `timeout` seconds in all. One that does not let us in is
    not: that is told after the first `_SOON_S`. Raises KafkaUnavailable.
    """
    began, limit = time.monotonic(), min(timeout, _SOON_S)
    while True:
        try:
            found: Mapping[str, Any] = admin.list_topics(topic, timeout=limit).topics
        except KafkaException as error:
            told, spent = why(config, error, admin), time.monotonic() - began
            if limit - _LEAST_S <= spent < timeout - _LEAST_S and not is_refused(config, spent):
                limit = timeout - spent
                continue
            raise KafkaUnavailable(f"no answer from {config.bootstrap}: {told}") from error
        return found
