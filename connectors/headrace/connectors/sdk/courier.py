"""Sealed batches on their way to Kafka: in order, as fast as it takes them, until it has them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.connectors.sdk.errors import NotDurable
from headrace.connectors.sdk.sealing import Ticket
from headrace.connectors.sdk.spool import Entry
from headrace.connectors.sdk.stats import Ledger
from headrace.connectors.sdk.transport import Away, Refused, Transport
from headrace.schemas import frame

logger = logging.getLogger(__name__)

_POLL_S = 0.1
_AGAIN_S = 0.5
_REFUSED_AGAIN_S = 30.0


@dataclass(kw_only=True, slots=True, eq=False)
class Parcel:
    """A sealed batch; its body is in memory, in the spool, or both."""

    partition: int
    spans: int
    body: bytes | None = None
    entry: Entry | None = None
    tickets: list[Ticket] = field(default_factory=list)
    leftover: bool = False


class Courier(threading.Thread):
    """Sends parcels. Learns partition count and schema id first, for as long as it takes.

    A thread of its own waits for deliveries and for what is away; `submit` sends at once from
    the caller's thread where it can.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: Ledger,
        *,
        keep_bytes: int,
        on_partitions: Callable[[int], None],
    ) -> None:
        super().__init__(name="headrace-courier", daemon=True)
        self._transport = transport
        self._ledger = ledger
        self._keep_bytes = keep_bytes
        self._on_partitions = on_partitions
        self._lock = threading.Condition(threading.RLock())
        self._queue: deque[Parcel] = deque()
        self._flying = 0
        self._partitions: int | None = None
        self._schema_id: int | None = None
        self._stopping = False
        self._hold_until = 0.0
        self._quiet_since = time.monotonic()
        self._said = ""
        self.trouble = ""
        """What spans wait for; '' for nothing."""

    def submit(self, parcel: Parcel) -> None:
        """Take a parcel; returns at once."""
        with self._lock:
            if not self._queue and not self._flying:
                self._quiet_since = time.monotonic()
            self._queue.append(parcel)
            self._pump()
            if parcel in self._queue:
                self._slim(parcel)
            self._lock.notify()

    def quiet_for(self) -> float:
        """Seconds without a delivery while something waits for one; 0 when nothing does."""
        with self._lock:
            if not self._queue and not self._flying:
                return 0.0
            return time.monotonic() - self._quiet_since

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until Kafka has everything submitted; False if not within `timeout` seconds."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._queue and not self._flying, timeout)

    def close(self, timeout: float) -> None:
        """Deliver for up to `timeout` seconds, then stop."""
        self.wait_until_empty(timeout)
        with self._lock:
            self._stopping = True
            self._lock.notify_all()
        self.join(timeout=5.0)  # at most one question to a broker that is away
        self._transport.close(0.0)

    def run(self) -> None:
        """Wait for deliveries, and for whatever is away, until closed."""
        while not self._stopping:
            if not self._connected():
                continue
            with self._lock:
                self._pump()
                if not self._flying:
                    # A parcel that cannot go now (no room, or after an error) is tried again.
                    self._lock.wait(_POLL_S if self._queue else None)
                    continue
            self._transport.poll(_POLL_S)

    def _connected(self) -> bool:
        if self._partitions is not None and self._schema_id is not None:
            return True
        pause = _AGAIN_S
        try:
            if self._partitions is None:
                partitions = self._transport.partitions()
                self._on_partitions(partitions)
                self._partitions = partitions
            self._schema_id = self._transport.schema_id()
        except Away as error:
            self._say("spans wait, nothing is lost yet: %s", error)
        except Refused as error:
            pause = _REFUSED_AGAIN_S
            self._say("spans wait, and will until this is mended: %s", error, level=logging.ERROR)
        except Exception:  # whatever it is, telemetry tries again and the agent goes on
            logger.exception("cannot set up the way to Kafka: trying again")
        else:
            return True
        with self._lock:
            if not self._stopping:
                self._lock.wait_for(lambda: self._stopping, pause)
        return False

    def _pump(self) -> None:
        """Send from the head of the queue what can be sent. The lock is held."""
        if self._partitions is None or self._schema_id is None or self._stopping:
            return
        while self._queue and time.monotonic() >= self._hold_until:
            parcel = self._queue[0]
            body = self._body(parcel)
            if body is None:
                self._queue.popleft()
                self._finish(parcel, "it cannot be read back from the spool")
                continue
            # Leftovers of a cluster with more partitions: a misplaced record is forwarded.
            partition = parcel.partition % self._partitions
            value = frame(self._schema_id, body)
            self._queue.popleft()
            self._flying += 1
            if not self._transport.send(partition, value, self._reporter(parcel)):
                self._flying -= 1
                self._queue.appendleft(parcel)
                return
            self._drop_body(parcel)

    def _reporter(self, parcel: Parcel) -> Callable[[str | None, bool], None]:
        return lambda error, again: self._report(parcel, error, again)

    def _report(self, parcel: Parcel, error: str | None, again: bool) -> None:
        with self._lock:
            self._flying -= 1
            if error is not None and again:
                self._say("Kafka did not take a batch, sending it again: %s", error)
                self._hold_until = time.monotonic() + _AGAIN_S
                self._queue.appendleft(parcel)
                return
            self._quiet_since = time.monotonic()
            if error is None:
                self._said = self.trouble = ""
            self._finish(parcel, error)
            self._lock.notify_all()

    def _finish(self, parcel: Parcel, error: str | None) -> None:
        """Delivered, or given up for `error`."""
        if error is not None:
            logger.error("a batch of %d spans is lost: %s", parcel.spans, error)
        if parcel.body is not None:
            self._ledger.add(held=-len(parcel.body))
            parcel.body = None
        if parcel.entry is not None:
            self._forget(parcel.entry, parcel.leftover)
        if parcel.leftover:
            self._ledger.add(**{"resent" if error is None else "lost_leftovers": parcel.spans})
        elif error is not None:
            self._ledger.add(undeliverable=parcel.spans)
        else:
            self._ledger.add(delivered=parcel.spans, delivered_batches=1)
        for ticket in parcel.tickets:
            if error is None:
                ticket.delivered.set_result(None)
            else:
                ticket.delivered.set_exception(NotDurable(f"the batch is lost: {error}"))

    def _forget(self, entry: Entry, leftover: bool) -> None:
        try:
            entry.remove()
            if leftover and entry.spool.empty:
                entry.spool.close()
        except OSError as error:  # it stays and is sent once more at the next start
            logger.warning("cannot tidy the spool %s: %s", entry.spool.folder, error)

    def _body(self, parcel: Parcel) -> bytes | None:
        if parcel.body is not None:
            return parcel.body
        assert parcel.entry is not None
        try:
            return parcel.entry.read()
        except OSError:
            logger.exception("a spooled batch of %d spans cannot be read", parcel.spans)
            return None

    def _slim(self, parcel: Parcel) -> None:
        if self._ledger.held > self._keep_bytes:
            self._drop_body(parcel)

    def _drop_body(self, parcel: Parcel) -> None:
        if parcel.body is not None and parcel.entry is not None:
            self._ledger.add(held=-len(parcel.body))
            parcel.body = None

    def _say(self, message: str, error: object, level: int = logging.WARNING) -> None:
        """Once for each state: until Kafka has taken something, or it is another trouble."""
        self.trouble = str(error)
        if (state := message % "") != self._said:
            self._said = state
            logger.log(level, message, error)
