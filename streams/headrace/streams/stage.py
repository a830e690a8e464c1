"""The contract of a stage: the records it takes, and what it promises about them.

Knows no host: Faust runs a stage (`headrace.streams.host`), and a test may.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from headrace.connectors.kafka import DeadLetter


@dataclass(kw_only=True, slots=True, frozen=True)
class LogRecord:
    """One record of a stage's topic. `log_time` is the broker's, in milliseconds.

    `tick`: a record without content that only moves the partition's clock. `forwarded`: a
    record that was found in another partition and sent on whole.
    """

    topic: str
    partition: int
    offset: int
    log_time: int
    value: bytes | None
    tick: bool = False
    forwarded: bool = False


class Stage(Protocol):
    """What the host runs."""

    name: str
    topic: str

    async def assigned(self, partitions: Sequence[int]) -> None:
        """Load what the partitions need; awaited before their first take."""

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Return when all that follows from the records is durable; raise only on bugs.

        Returns those that could not be read; they are in the dead-letter topic by then.
        """

    def next_deadline(self, partition: int) -> int | None:
        """Log time in milliseconds at which this partition needs a record, for ticks."""


@runtime_checkable
class Reporting(Protocol):
    """A stage that says how it fares: counts, and what it waits for ('' for nothing)."""

    counters: Mapping[str, int]
    waiting: str
