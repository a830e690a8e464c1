"""The SDK's way to Kafka and the registry, as a seam that tests replace."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from headrace.connectors.kafka import (
    KafkaClientError,
    KafkaConfig,
    Registry,
    make_producer,
    partitions_of,
    why,
)
from headrace.connectors.sdk.config import SdkConfig
from headrace.connectors.sdk.sealing import TOPIC
from headrace.schemas import RegistryUnavailable, SchemaError

if TYPE_CHECKING:
    from confluent_kafka import Producer

logger = logging.getLogger(__name__)

_ASK_S = 2.0

Taken = Callable[[str | None, bool], None]
"""Told (None, False) on delivery, else (error, whether trying again can help)."""


class Away(Exception):
    """The broker or the registry does not answer now."""


class Refused(Exception):
    """What is to be sent is refused, and will be until somebody mends that."""


class Transport(Protocol):
    """What the courier needs. `send`, `poll` and `close` come from several threads."""

    def partitions(self) -> int:
        """Partition count of the spans' topic; blocks for seconds; raises Away."""

    def schema_id(self) -> int:
        """Registry id of the spans' schema; blocks for seconds; raises Away or Refused."""

    def send(self, partition: int, value: bytes, taken: Taken) -> bool:
        """Hand a record over; False: no room now, poll and try again."""

    def poll(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for deliveries and report them."""

    def close(self, timeout: float) -> None:
        """Deliver for up to `timeout` seconds, then give up on the rest."""


class KafkaTransport:
    """The real one: an idempotent librdkafka producer that never gives a record up by itself."""

    def __init__(self, config: SdkConfig) -> None:
        self._kafka = KafkaConfig(
            bootstrap=config.bootstrap,
            client_id="headrace-sdk",
            delivery_timeout_ms=0,
            extra=config.kafka,
        )
        self._queue_kb = max(1024, config.memory_bytes // 2048)
        self._registry = Registry(
            config.registry_url, **{**config.registry, "timeout": _ASK_S, "max.retries": 0}
        )
        self._producer: Producer | None = None

    def partitions(self) -> int:
        """Partition count of the spans' topic; raises Away."""
        try:
            return partitions_of(self._kafka, TOPIC, timeout=_ASK_S)
        except KafkaClientError as error:
            raise Away(str(error)) from error

    def schema_id(self) -> int:
        """Registry id of the spans' schema; raises Away or Refused."""
        try:
            return self._registry.schema_id(TOPIC)
        except RegistryUnavailable as error:
            raise Away(str(error)) from error
        except SchemaError as error:
            raise Refused(str(error)) from error

    def send(self, partition: int, value: bytes, taken: Taken) -> bool:
        """Hand a record over; False: no room now."""
        if self._producer is None:
            # No lingering: what comes here was gathered before, and somebody may wait for it.
            self._producer = make_producer(
                self._kafka, queue_buffering_max_kbytes=self._queue_kb, linger_ms=0
            )
        producer = self._producer

        def report(error: KafkaError | None, _message: Any) -> None:
            if error is not None and error.fatal() and self._producer is producer:
                self._producer = None  # ended for good: the next send makes another
            taken(*self._verdict(error))

        try:
            producer.produce(TOPIC, value=value, partition=partition, on_delivery=report)
        except BufferError:
            return False
        except KafkaException as error:
            report(error.args[0], None)
        return True

    def poll(self, timeout: float) -> None:
        """Wait for deliveries and report them."""
        if (producer := self._producer) is not None:
            producer.poll(timeout)

    def close(self, timeout: float) -> None:
        """Deliver for up to `timeout` seconds, then give up on the rest."""
        self._registry.close()
        producer, self._producer = self._producer, None
        if producer is not None and producer.flush(timeout):
            producer.purge()
            producer.flush(1)

    def _verdict(self, error: KafkaError | None) -> tuple[str | None, bool]:
        if error is None:
            return None, False
        return why(self._kafka, error), error.code() != KafkaError.MSG_SIZE_TOO_LARGE
