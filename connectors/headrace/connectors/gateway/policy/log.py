"""Reads `headrace.policies` from its start and follows it, outside the event loop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from headrace.connectors.kafka import (
    KafkaClientError,
    KafkaConfig,
    LogRecord,
    Patience,
    PoisonSettings,
    Registry,
    RegistryAccess,
    Stopped,
    WholeTopics,
)
from headrace.schemas import Codec, PolicyRecord, from_avro
from headrace.schemas.topics import Topic

TOPIC = Topic.POLICIES
GROUP = "headrace.gateway"
"""By which its halts are known."""
_POLL_S = 0.2
_RETRY_S = 1.0

OnRecords = Callable[[Sequence[PolicyRecord]], None]


class PolicyLog:
    """Hands the policy records to an event loop: first all that is there, then each that comes.

    Kafka or the registry away means wait; when the log is lost it is read again, and `on_start`
    gets all of it again. A record that cannot be read is logged and left out; when there are too
    many of them, nothing that comes after is served until a person has let the log go on.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        registry: RegistryAccess | str,
        *,
        limit: PoisonSettings,
        on_start: OnRecords,
        on_records: OnRecords,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._kafka = kafka
        self._registry = Registry(registry)
        self._codec = Codec(self._registry)
        self._limit = limit
        self._on_start = on_start
        self._on_records = on_records
        self._loop = loop
        self._stopping = threading.Event()
        self._patience = Patience(f"reading {TOPIC}", stop=self._stopping, delay_s=_RETRY_S)

    def stop(self) -> None:
        """Have `run` return within a second or so."""
        self._stopping.set()

    def run(self) -> None:
        """Read until stopped; for a thread of its own. Call it once."""
        with closing(self._registry), suppress(Stopped):  # while it waited
            while not self._stopping.is_set():
                try:
                    self._follow()
                except KafkaClientError as error:  # the log is read again, from its start
                    self._patience.pause(str(error))

    def _follow(self) -> None:
        log = WholeTopics(
            self._kafka,
            self._codec,
            [TOPIC],
            self._record_of,
            stage="gateway",
            group=GROUP,
            limit=self._limit,
            patience=self._patience,
        )
        try:
            first: list[PolicyRecord] = []
            while not self._stopping.is_set() and not log.caught_up:
                first += [record for _, record in log.read(_POLL_S)]
            self._hand_over(self._on_start, first)
            while not self._stopping.is_set():
                # One at a time: the client would wait its whole time-out for a second record.
                if read := log.read(_POLL_S, limit=1):
                    self._hand_over(self._on_records, [record for _, record in read])
        finally:
            log.close()

    def _record_of(self, record: LogRecord) -> PolicyRecord:
        return from_avro(PolicyRecord, self._codec.decode(TOPIC, record.value))

    def _hand_over(self, receive: OnRecords, records: Sequence[PolicyRecord]) -> None:
        if not self._stopping.is_set():
            self._loop.call_soon_threadsafe(receive, records)
