"""Ticks: records without content that move the clock of a quiet partition.

Only the log has time, so a partition in which nothing happens would never pass a deadline. Its
owner watches it and appends a tick when, by its own estimate, the deadline is over (rule: a quiet
partition gets a tick). The estimate decides nothing: the tick's log time does.
"""

import logging
import time
from collections.abc import Callable, Sequence

from headrace.connectors.kafka import (
    TICK_HEADER,
    KafkaAccess,
    KafkaUnavailable,
    Outgoing,
    Writer,
)

logger = logging.getLogger(__name__)

QUIET_S = 1.0
_APPEND_S = 2.0


class Ticker:
    """Appends ticks to quiet partitions whose deadline has passed; at most one a second each."""

    def __init__(
        self, kafka: KafkaAccess, topic: str, next_deadline: Callable[[int], int | None]
    ) -> None:
        self.topic = topic
        self.partitions: list[int] = []
        self._writer = Writer(kafka.client("headrace-ticks", delivery_timeout_ms=5_000))
        self._next_deadline = next_deadline
        self._seen: dict[int, tuple[float, int]] = {}

    def assign(self, partitions: Sequence[int]) -> None:
        """Watch these partitions from now on."""
        now = time.monotonic()
        self.partitions = list(partitions)
        # The wall clock is used until a record of the partition gives the log's time.
        self._seen = {p: (now, int(time.time() * 1000)) for p in partitions}

    def seen(self, partition: int, log_time: int) -> None:
        """A record of the partition was taken."""
        self._seen[partition] = (time.monotonic(), log_time)

    def due(self, now: float) -> list[int]:
        """Partitions that need a tick at the monotonic time `now` (seconds)."""
        due = []
        for partition in self.partitions:
            at, log_time = self._seen[partition]
            deadline = self._next_deadline(partition)
            quiet = now - at
            if quiet >= QUIET_S and deadline is not None and log_time + quiet * 1000 > deadline:
                due.append(partition)
        return due

    def append(self, partitions: Sequence[int]) -> None:
        """Append a tick to each partition. An absent broker costs nothing: the next round retries.

        Blocks for up to two seconds.
        """
        ticks = [
            Outgoing(
                topic=self.topic, value=None, partition=partition, headers=((TICK_HEADER, b""),)
            )
            for partition in partitions
        ]
        try:
            self._writer.send(ticks, _APPEND_S)
        except KafkaUnavailable as error:
            logger.warning("no tick for %s: %s", self.topic, error)
