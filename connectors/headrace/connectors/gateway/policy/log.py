"""Reads `headrace.policies` from its start and follows it, outside the event loop."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from headrace.connectors.kafka import (
    Decoder,
    KafkaClientError,
    KafkaConfig,
    Patience,
    Registry,
    RegistryAccess,
    Stopped,
    Tailer,
)
from headrace.schemas import Codec, PolicyRecord, from_avro
from headrace.schemas.topics import Topic

TOPIC = Topic.POLICIES
_POLL_S = 0.2
_RETRY_S = 1.0
_AT_ONCE = 500

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
        codec = Codec(Registry(registry))
        self._decoder = Decoder(
            lambda record: from_avro(PolicyRecord, codec.decode(TOPIC, record.value)),
            stage="gateway",
        )
        self._on_start = on_start
        self._on_records = on_records
        self._loop = loop
        self._stopping = threading.Event()
        self._patience = Patience(f"reading {TOPIC}", stop=self._stopping, delay_s=_RETRY_S)

    def stop(self) -> None:
        """Have `run` return within a second or so."""
        self._stopping.set()

    def run(self) -> None:
        """Read until stopped; for a thread of its own."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except KafkaClientError as error:  # the log is read again, from its start
                with suppress(Stopped):
                    self._patience.pause(str(error))
            except Stopped:
                return

    def _follow(self) -> None:
        tailer = Tailer(self._kafka, [TOPIC], name="headrace.gateway.policies")
        try:
            first: list[PolicyRecord] = []
            while not self._stopping.is_set() and not tailer.caught_up:
                first += self._read(tailer)
            self._hand_over(self._on_start, first)
            while not self._stopping.is_set():
                # One at a time: the client would wait its whole time-out for a second record.
                if records := self._read(tailer, limit=1):
                    self._hand_over(self._on_records, records)
        finally:
            tailer.close()

    def _read(self, tailer: Tailer, limit: int = _AT_ONCE) -> list[PolicyRecord]:
        # A record without a value is compaction's mark that a key is gone.
        records = [record for record in tailer.read(_POLL_S, limit) if record.value is not None]
        decoded = self._decoder.decode(records, self._patience)
        self.malformed += len(decoded.refused)
        return [record for _, record in decoded.taken]

    def _hand_over(self, receive: OnRecords, records: Sequence[PolicyRecord]) -> None:
        if not self._stopping.is_set():
            self._loop.call_soon_threadsafe(receive, records)
