"""The contract of a stage: the records it takes, and what it promises about them.

Knows no host: one of `headrace.streams.host` runs a stage, and a test may.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from headrace.connectors.kafka import DeadLetter, LogRecord, Partition

__all__ = ["LogRecord", "Reporting", "Stage", "Storing"]


class Stage(Protocol):
    """What a host runs."""

    @property
    def name(self) -> str:
        """By which it is started, and known in the log and in `headrace status`."""

    @property
    def topics(self) -> Sequence[str]:
        """What it reads."""

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Load what the partitions need; awaited before their first take."""

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Return when all that follows from the records is durable, or `Storing.store` makes it so;
        raise only on bugs.

        Returns those that could not be read; they are in the dead-letter topic by then.
        """

    def next_deadline(self, where: Partition) -> int | None:
        """Log time in milliseconds at which a partition needs a record, for ticks; None: none."""


@runtime_checkable
class Storing(Protocol):
    """A stage whose tables follow the stream: its takes tell the log, and owe rows to tables."""

    @property
    def owed_bytes(self) -> int:
        """Bytes of what is owed."""

    async def store(self) -> None:
        """Store what the takes that have returned owe: they may be acknowledged then.

        Takes may go on meanwhile.
        """


@runtime_checkable
class Reporting(Protocol):
    """A stage that says how it fares: counts, and what it waits for ('' for nothing)."""

    counters: Mapping[str, int]
    waiting: str
