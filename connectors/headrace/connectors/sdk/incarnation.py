"""One producer's life: from its start in a process to its close, or to the process's end."""

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from headrace.connectors.described import REPLACED
from headrace.connectors.privacy import Privacy
from headrace.connectors.sdk import spool as spools
from headrace.connectors.sdk.config import SdkConfig
from headrace.connectors.sdk.content import prepared
from headrace.connectors.sdk.courier import Courier, Parcel
from headrace.connectors.sdk.errors import Closed, MemoryFull, NotDurable
from headrace.connectors.sdk.sealing import TOPIC, OpenBatch, Sealer, Ticket
from headrace.connectors.sdk.stats import Ledger, Stats
from headrace.connectors.sdk.transport import Transport
from headrace.schemas import Span, new_ulid

logger = logging.getLogger(__name__)


class Incarnation:
    """Takes spans from any thread; a sealing thread and the courier do the rest.

    Raises SpoolError when the spool directory cannot be used.
    """

    def __init__(self, config: SdkConfig, transport: Transport) -> None:
        self.producer = new_ulid()
        self.privacy = Privacy(config.privacy, config.hidden)
        self._config = config
        self._ledger = Ledger()
        self._news = threading.Condition()
        self._closed = False
        self._everything = 0
        self._sealed_everything = 0
        self._spool: spools.Spool | None = None
        partitions = None
        leftovers: list[Parcel] = []
        if config.spool_directory is not None:
            directory = config.spool_directory
            fsync = config.fsync == "batch"
            self._spool = spools.open_spool(directory, self.producer, fsync=fsync)
            partitions = spools.remembered_partitions(directory, TOPIC)
            leftovers = list(_leftovers(config))
        self._sealer = Sealer(
            self.producer,
            spans=config.seal_spans,
            size=config.seal_bytes,
            partitions=partitions,
            durable_pause_s=config.durable_seal_ms / 1000,
        )
        self._courier = Courier(
            transport,
            self._ledger,
            keep_bytes=config.memory_bytes // 2,
            on_partitions=self._place,
        )
        for parcel in leftovers:
            self._courier.submit(parcel)
        self._thread = threading.Thread(target=self._run, name="headrace-sealer", daemon=True)
        self._courier.start()
        self._thread.start()

    def take(self, span: Span, *, durable: bool) -> Ticket | None:
        """Take a span; the ticket of a durable one tells what becomes of it.

        Raises:
            Closed: the telemetry was closed.
            ValueError: an id, kind or status is none (InvalidId is one).
            NotDurable: memory is full.
        """
        try:
            span, was_cut, was_redacted, size = prepared(span, self._config, self.privacy)
            replaced = REPLACED in span.attributes
            ticket = Ticket() if durable else None
            wait_ms = 0 if durable else self._config.seal_ms
            with self._news:
                if self._closed:
                    raise Closed("the telemetry is closed: emit spans before close()")
                if self._ledger.held + size > self._config.memory_bytes:
                    self._sealer.skip(span)
                    self._ledger.add(dropped=1)
                    raise NotDurable(
                        f"{self._ledger.held} bytes of telemetry wait for Kafka, "
                        "more than SdkConfig.memory_bytes allows"
                    )
                if self._sealer.add(span, size, time.monotonic() + wait_ms / 1000, ticket):
                    self._news.notify_all()
                self._ledger.add(
                    held=size, emitted=1, cut=was_cut, replaced=replaced, redacted=was_redacted
                )
        except NotDurable:
            raise
        except Exception:
            self._ledger.add(rejected=1)
            raise
        return ticket

    def take_all(self, spans: Sequence[Span]) -> list[Ticket]:
        """Take spans all or none; each ticket tells what becomes of some of them.

        Raises:
            Closed: the telemetry was closed.
            ValueError: an id, kind or status is none (InvalidId is one).
            NotDurable: memory is full, or Kafka has not yet said how many partitions there are.
        """
        made = [prepared(span, self._config, self.privacy) for span in spans]
        size = sum(one.size for one in made)
        with self._news:
            if self._closed:
                raise Closed("the telemetry is closed: emit spans before close()")
            if self._sealer.partitions is None:
                raise NotDurable(f"Kafka has not answered yet: {self.trouble or 'it is asked'}")
            if self._ledger.held + size > self._config.memory_bytes:
                raise MemoryFull(
                    f"{self._ledger.held} bytes of telemetry wait for Kafka, "
                    "and SdkConfig.memory_bytes allows no more"
                )
            given = [(one.span, one.size) for one in made]
            tickets = self._sealer.await_open(given, time.monotonic())
            self._ledger.add(
                held=size,
                emitted=len(made),
                cut=sum(one.was_cut for one in made),
                replaced=sum(REPLACED in one.span.attributes for one in made),
                redacted=sum(one.was_redacted for one in made),
            )
            self._news.notify_all()
        return tickets

    def suppresses(self, span: Span) -> bool:
        """Whether the capture mode leaves a span out, which is counted then."""
        leaves_out = self.privacy.capture(getattr(span, "project", "")) == "none"
        if leaves_out:
            self._ledger.add(suppressed=1)
        return leaves_out

    def away(self) -> bool:
        """Whether Kafka has been silent for longer than the patience with it."""
        return self._courier.quiet_for() > self._config.broker_patience_ms / 1000

    @property
    def trouble(self) -> str:
        """What spans wait for; '' for nothing."""
        return self._courier.trouble

    def flush(self, timeout: float) -> bool:
        """Seal everything and wait until Kafka has it; False if not within `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._news:
            placed = self._news.wait_for(lambda: self._sealer.partitions is not None, timeout)
            self._everything += 1
            wanted = self._everything
            self._news.notify_all()
            sealed = self._news.wait_for(
                lambda: self._sealed_everything >= wanted, max(0.0, end - time.monotonic())
            )
        done = self._courier.wait_until_empty(max(0.0, end - time.monotonic()))
        return placed and sealed and done

    def close(self, timeout: float) -> None:
        """Take no more spans, deliver for up to `timeout` seconds, leave the rest spooled."""
        end = time.monotonic() + timeout
        with self._news:
            if self._closed:
                return
            self._closed = True
            self._news.notify_all()
        self._thread.join(timeout=10.0)
        self._courier.close(max(0.0, end - time.monotonic()))
        if self._spool is not None:
            self._spool.close()
        pending = self.stats().pending
        if pending and self._spool is not None:
            logger.warning("%d spans stay in the spool %s", pending, self._spool.folder.parent)
        elif pending:
            logger.error("%d spans are lost: Kafka was away and there is no spool", pending)

    def abandon(self) -> None:
        """In a forked child: what this holds is the parent's."""
        if self._spool is not None:
            self._spool.abandon()

    def stats(self) -> Stats:
        """The counts so far."""
        return self._ledger.stats(self.producer, self._courier.quiet_for())

    def _place(self, partitions: int) -> None:
        directory = self._config.spool_directory
        with self._news:
            known = self._sealer.partitions
            if known is not None and known != partitions:
                logger.warning(
                    "%s has %d partitions, the spool %s remembers %d: is it another cluster?",
                    *(TOPIC, partitions, directory, known),
                )
            self._sealer.place(partitions)
            self._news.notify_all()
        if directory is not None and known != partitions:
            spools.remember_partitions(directory, TOPIC, partitions)

    def _run(self) -> None:
        while True:
            with self._news:
                self._wait_until_due()
                asked, closed = self._everything, self._closed
                everything = closed or asked > self._sealed_everything
                batches = self._sealer.take(time.monotonic(), everything=everything)
                numbered = [(batch, self._sealer.number(batch.spans)) for batch in batches]
            for batch, numbers in numbered:
                self._seal(batch, numbers)
            with self._news:
                self._sealed_everything = asked
                self._news.notify_all()
            if closed:
                return

    def _wait_until_due(self) -> None:
        while not self._closed and self._everything == self._sealed_everything:
            due = self._sealer.next_due()
            left = None if due is None else due - time.monotonic()
            if left is not None and left <= 0:
                return
            self._news.wait(left)

    def _seal(self, batch: OpenBatch, numbers: dict[Any, int]) -> None:
        sealed = self._sealer.seal(batch, numbers)
        self._ledger.add(
            held=len(sealed.body) - batch.size,
            unencodable=len(sealed.refused),
            replaced=sealed.replaced,
        )
        refused = {id(span) for span in sealed.refused}
        for span, ticket in batch.tickets:
            if id(span) in refused:
                error = NotDurable(f"span {span.span_id} cannot be encoded")
                ticket.delivered.set_exception(error)
        if not sealed.spans:
            return
        tickets = [ticket for span, ticket in batch.tickets if id(span) not in refused]
        entry = self._keep(sealed.partition, sealed.spans, sealed.body)
        for ticket in tickets:
            ticket.spooled.set_result(entry is not None)
        self._courier.submit(
            Parcel(
                partition=sealed.partition,
                spans=sealed.spans,
                body=sealed.body,
                entry=entry,
                tickets=tickets,
            )
        )

    def _keep(self, partition: int, spans: int, body: bytes) -> spools.Entry | None:
        if self._spool is None or self._spool.size + len(body) > self._config.spool_bytes:
            return None
        try:
            entry = self._spool.append(partition, spans, body)
        except OSError as error:
            logger.error("cannot spool %d spans, they wait in memory: %s", spans, error)
            return None
        self._ledger.add(spooled=spans)
        return entry


def _leftovers(config: SdkConfig) -> list[Parcel]:
    assert config.spool_directory is not None
    parcels = []
    for spool in spools.left_behind(config.spool_directory):
        entries = list(spool.entries())
        if not entries:
            spool.close()
            continue
        logger.info("sending %d batches that %s left behind", len(entries), spool.folder.name)
        parcels += [
            Parcel(partition=entry.partition, spans=entry.spans, entry=entry, leftover=True)
            for entry in entries
        ]
    return parcels
