"""Which versions of a policy are served: what the log says, and saying something else.

A change is a record on `headrace.policies`, so it holds for all gateways and after restarts.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.connectors.gateway.policy.versions import PolicyBook
from headrace.connectors.kafka import (
    KafkaClientError,
    LogRecord,
    Outgoing,
    Registry,
    Tailer,
    Writer,
)
from headrace.infra.errors import LogUnavailable
from headrace.infra.settings import Settings
from headrace.schemas import (
    Codec,
    PolicyRecord,
    RegistryUnavailable,
    SchemaError,
    Traffic,
    Unavailable,
    from_avro,
    to_avro,
)
from headrace.schemas.topics import Topic

logger = logging.getLogger(__name__)

DELIVERY_MS = 10_000  # a person waits for it
READ_S = 0.2


@dataclass(kw_only=True, slots=True)
class Served:
    """What the log says of a policy's versions."""

    traffic: Traffic
    book: PolicyBook
    since: int = 0
    """Log time of what was said last, milliseconds; 0: nothing was."""
    parents: dict[int, int] = field(default_factory=dict)
    """Of each version that was published the one it was made from; -1: none."""

    @property
    def versions(self) -> list[int]:
        """Those whose weights are kept, ascending."""
        return sorted(self.book.versions)

    def take(self, record: PolicyRecord, log_time: int) -> None:
        """Take in one record; those of other policies change nothing."""
        self.book.take([record])
        version, traffic = record.version, record.traffic
        if version is not None and version.policy == self.traffic.policy:
            self.parents[version.version] = version.parent
        if traffic is not None and traffic.policy == self.traffic.policy:
            self.traffic, self.since = traffic, log_time


class TrafficLog:
    """The topic of policies, read from its start and followed. Not for sharing between threads.

    Its methods raise LogUnavailable where Kafka or the registry does not answer.
    """

    def __init__(self, settings: Settings, policies: Iterable[str]) -> None:
        """policies: whose versions are wanted."""
        self.served = {
            policy: Served(traffic=Traffic(policy=policy), book=PolicyBook(policy))
            for policy in policies
        }
        self._settings = settings
        self._registry = Registry(settings.registry_access)
        self._codec = Codec(self._registry)
        self._tailer: Tailer | None = None

    def close(self) -> None:
        """Leave the broker."""
        if self._tailer is not None:
            self._tailer.close()
        self._registry.close()

    def read(self) -> None:
        """Read to the end of the log."""
        try:
            if self._tailer is None:
                kafka = self._settings.kafka_access.client("headrace-traffic")
                self._tailer = Tailer(kafka, [Topic.POLICIES], name="headrace.traffic")
            while (messages := self._tailer.read(READ_S)) or not self._tailer.caught_up:
                for message in messages:
                    self._take(message)
        except (KafkaClientError, RegistryUnavailable) as error:
            raise LogUnavailable(f"{error}. Check with `headrace status`") from error

    def _take(self, message: LogRecord) -> None:
        try:
            record = from_avro(PolicyRecord, self._codec.decode(message.topic, message.value))
        except Unavailable:
            raise
        except SchemaError as error:  # as gateways do, which set it aside
            logger.warning(
                "offset %d of %s is passed over: %s", message.offset, message.topic, error
            )
            return
        for served in self.served.values():
            served.take(record, message.log_time)

    def say(self, traffic: Traffic) -> None:
        """Write what is served from now on."""
        kafka = self._settings.kafka_access.client(
            "headrace-traffic", delivery_timeout_ms=DELIVERY_MS
        )
        writer = Writer(kafka)
        try:
            value = self._codec.encode(Topic.POLICIES, to_avro(PolicyRecord(traffic=traffic)))
            key = f"{traffic.policy}/traffic"
            writer.send([Outgoing(topic=Topic.POLICIES, key=key, value=value, partition=0)])
        except (KafkaClientError, RegistryUnavailable) as error:
            raise LogUnavailable(f"{error}. Check with `headrace status`") from error
        finally:
            writer.close()
