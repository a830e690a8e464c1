"""Records written durably: a send returns when the brokers have them."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException

from headrace.connectors.kafka.clients import make_producer, why
from headrace.connectors.kafka.config import KafkaConfig
from headrace.connectors.kafka.errors import KafkaUnavailable
from headrace.connectors.kafka.interrupts import held_back

if TYPE_CHECKING:
    from confluent_kafka import Producer

_POLL_S = 0.1


@dataclass(kw_only=True, slots=True, frozen=True)
class Outgoing:
    """One record to write. Give the partition where the key is not what decides it."""

    topic: str
    value: bytes | None
    key: str | None = None
    partition: int = -1
    headers: tuple[tuple[str, bytes], ...] = ()


class Writer:
    """An idempotent producer whose sends wait for the acknowledgement. Safe to share by threads.

    Made on the first send, so constructing one needs no broker.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def send(self, records: Sequence[Outgoing], timeout: float | None = None) -> None:
        """Write records and return when all of them are acknowledged.

        Raises:
            KafkaUnavailable: some were not within `timeout` seconds (None: as long as the
                configuration's delivery time-out). They may still arrive: sending the same
                bytes again is the right answer.
        """
        receipt = _Receipt(len(records))
        end = None if timeout is None else time.monotonic() + timeout
        producer = self._ready()
        for record in records:
            self._produce(producer, record, receipt, end)
        while not receipt.done.is_set():
            if end is not None and time.monotonic() > end:
                raise KafkaUnavailable(
                    f"{receipt.missing} of {len(records)} records for {records[0].topic} on "
                    f"{self._config.bootstrap} were not acknowledged within {timeout:g} s: "
                    f"{why(self._config, None)}"
                )
            with held_back():
                producer.poll(_POLL_S)
        if receipt.error is not None:
            if receipt.error.fatal():
                self._discard(producer)
            raise KafkaUnavailable(
                f"{records[0].topic} on {self._config.bootstrap} did not take a record: "
                f"{why(self._config, receipt.error)}"
            )

    async def asend(self, records: Sequence[Outgoing]) -> None:
        """`send` off the event loop."""
        await asyncio.to_thread(self.send, records)

    def close(self, timeout: float = 10.0) -> None:
        """Flush for at most `timeout` seconds and let the producer go."""
        with self._lock:
            producer, self._producer = self._producer, None
        if producer is None:
            return
        with held_back():
            if producer.flush(timeout):
                producer.purge()
                producer.flush(1)

    def _ready(self) -> "Producer":
        with self._lock:
            if self._producer is None:
                self._producer = make_producer(self._config)
            return self._producer

    def _discard(self, producer: "Producer") -> None:
        # A fatal error ends an idempotent producer for good; the next send makes another.
        with self._lock:
            if self._producer is producer:
                self._producer = None

    def _produce(
        self, producer: "Producer", record: Outgoing, receipt: "_Receipt", end: float | None
    ) -> None:
        arguments: dict[str, Any] = {} if record.partition < 0 else {"partition": record.partition}
        while True:
            try:
                producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers),
                    on_delivery=receipt.taken,
                    **arguments,
                )
                return
            except BufferError:  # librdkafka's queue is full: make room
                if end is not None and time.monotonic() > end:
                    raise KafkaUnavailable(
                        f"the queue for {self._config.bootstrap} stayed full: "
                        f"{why(self._config, None)}"
                    ) from None
                with held_back():
                    producer.poll(_POLL_S)
            except KafkaException as error:
                self._discard(producer)
                raise KafkaUnavailable(
                    f"{record.topic} on {self._config.bootstrap} cannot be written: "
                    f"{why(self._config, error)}"
                ) from error


class _Receipt:
    """Counts the acknowledgements of one send."""

    def __init__(self, records: int) -> None:
        self.missing = records
        self.error: KafkaError | None = None
        self.done = threading.Event()
        self._lock = threading.Lock()
        if not records:
            self.done.set()

    def taken(self, error: KafkaError | None, _message: Any) -> None:
        with self._lock:
            self.missing -= 1
            self.error = error or self.error
            if not self.missing:
                self.done.set()
