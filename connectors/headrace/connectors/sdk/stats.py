"""What became of the spans, in numbers."""

import dataclasses
import threading
from dataclasses import dataclass


@dataclass(kw_only=True, slots=True, frozen=True)
class Stats:
    """Counts of one incarnation of a producer, in spans unless said.

    `emitted = delivered + pending + undeliverable + unencodable`; `dropped`, `rejected` and
    `suppressed` spans were never taken.
    """

    producer: str
    """ULID of this incarnation."""
    emitted: int = 0
    """Taken from the agent."""
    delivered: int = 0
    """Kafka has them."""
    delivered_batches: int = 0
    """Records of them."""
    pending: int = 0
    """On their way: not sealed, or sealed and not delivered."""
    spooled: int = 0
    """Written to the spool at some time."""
    resent: int = 0
    """Left behind by a dead process and delivered by this one."""
    dropped: int = 0
    """Not taken because memory was full: their episodes show a hole."""
    rejected: int = 0
    """Not taken because of an illegal id, kind or status, or after closing."""
    suppressed: int = 0
    """Not taken because the capture mode is `none`."""
    unencodable: int = 0
    """Taken, but nothing that a batch can hold."""
    undeliverable: int = 0
    """Refused by Kafka for good, or lost with the spool's disk."""
    lost_leftovers: int = 0
    """Left behind by a dead process, and refused by Kafka or unreadable."""
    redacted: int = 0
    """Taken with something in a text replaced, as `[privacy] redact` says."""
    cut: int = 0
    """Taken with a text cut to `text_bytes`."""
    replaced: int = 0
    """Taken with a value replaced by what could be said of it; they bear the attribute
    `headrace.replaced`."""
    held_bytes: int = 0
    """Memory that waiting spans and batches take now."""
    quiet_s: float = 0.0
    """Seconds without a delivery while something waits for one."""


_COUNTS = {field.name for field in dataclasses.fields(Stats)} - {
    "producer",
    "pending",
    "held_bytes",
    "quiet_s",
}


class Ledger:
    """The counters behind Stats. Safe to share between threads."""

    def __init__(self) -> None:
        self.held = 0
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._lock = threading.Lock()

    def add(self, *, held: int = 0, **counts: int) -> None:
        """Add to some counters, and to the bytes held."""
        with self._lock:
            self.held += held
            for name, count in counts.items():
                self._counts[name] += count

    def stats(self, producer: str, quiet_s: float) -> Stats:
        """The numbers now."""
        with self._lock:
            counts = self._counts
            gone = counts["delivered"] + counts["undeliverable"] + counts["unencodable"]
            return Stats(
                producer=producer,
                pending=counts["emitted"] - gone,
                held_bytes=self.held,
                quiet_s=quiet_s,
                **counts,
            )
