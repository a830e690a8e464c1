"""Reads `headrace.policies` from its start and follows it, outside the event loop."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

from headrace.connectors.kafka import (
    KafkaClientError,
    KafkaConfig,
    LogRecord,
    Registry,
    RegistryAccess,
    Tailer,
)
from headrace.schemas import (
    Codec,
    MalformedRecord,
    PolicyRecord,
    RegistryUnavailable,
    UnknownSchemaId,
    from_avro,
)
from headrace.schemas.topics import Topic

logger = logging.getLogger(__name__)

TOPIC = Topic.POLICIES
UNKNOWN_ID_S = 30.0
_POLL_S = 0.2
_RETRY_S = 1.0

OnRecords = Callable[[Sequence[PolicyRecord]], None]


class PolicyLog:
    """Hands the policy records to an event loop: first all that is there, then each that comes.

    Kafka or the registry away means wait; when the log is lost it is read again, and `on_start`
    gets all of it again. A record that cannot be read is logged, counted and left out.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        registry: RegistryAccess | str,
        *,
        on_start: OnRecords,
        on_records: OnRecords,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.malformed = 0
        self._kafka = kafka
        self._codec = Codec(Registry(registry))
        self._on_start = on_start
        self._on_records = on_records
        self._loop = loop
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Have `run` return within a second or so."""
        self._stopping.set()

    def run(self) -> None:
        """Read until stopped; for a thread of its own."""
        last = ""
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaClientError as error:
                if str(error) != last:
                    logger.warning("waiting for %s: %s", TOPIC, error)
                    last = str(error)
                self._stopping.wait(_RETRY_S)

    def _follow(self) -> None:
        tailer = Tailer(self._kafka, [TOPIC], name="headrace.gateway.policies")
        try:
            first: list[PolicyRecord] = []
            while not self._stopping.is_set() and not tailer.caught_up:
                first += self._read(tailer)
            self._hand_over(self._on_start, first)
            while not self._stopping.is_set():
                if records := self._read(tailer):
                    self._hand_over(self._on_records, records)
        finally:
            tailer.close()

    def _read(self, tailer: Tailer) -> list[PolicyRecord]:
        records = [self._decode(message) for message in tailer.read(_POLL_S)]
        return [record for record in records if record is not None]

    def _hand_over(self, receive: OnRecords, records: Sequence[PolicyRecord]) -> None:
        if not self._stopping.is_set():
            self._loop.call_soon_threadsafe(receive, records)

    def _decode(self, message: LogRecord) -> PolicyRecord | None:
        if message.value is None:  # compaction's mark that a key is gone
            return None
        give_up = time.monotonic() + UNKNOWN_ID_S
        while not self._stopping.is_set():
            try:
                return from_avro(PolicyRecord, self._codec.decode(TOPIC, message.value))
            except MalformedRecord as error:
                self._leave_out(message, error)
                return None
            except UnknownSchemaId as error:
                if time.monotonic() > give_up:
                    self._leave_out(message, error)
                    return None
                logger.warning("waiting for the schema of %s: %s", TOPIC, error)
            except RegistryUnavailable as error:
                give_up = time.monotonic() + UNKNOWN_ID_S
                logger.warning("waiting for the registry: %s", error)
            self._stopping.wait(_RETRY_S)
        return None

    def _leave_out(self, message: LogRecord, error: Exception) -> None:
        self.malformed += 1
        logger.error("%s offset %d is left out: %s", TOPIC, message.offset, error)
