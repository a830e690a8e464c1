"""The takes of one stage, whichever host brings the records: guarded, counted and told."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.connectors.kafka import Guard, LogRecord, Partition, Patience, ends_of
from headrace.streams.host.config import HostConfig
from headrace.streams.stage import Reporting, Stage


class Takes:
    """Gives a stage the records that it may take. Never two at a time."""

    def __init__(self, stage: Stage, config: HostConfig, guard: Guard, patience: Patience) -> None:
        self.patience = patience
        self._stage = stage
        self._config = config
        self._guard = guard
        self._positions: dict[Partition, int] = {}
        self._records = 0

    async def admits(self, records: Sequence[LogRecord]) -> list[bool]:
        """Which records may be taken; those of halted partitions may not."""
        offsets = [(record.where, record.offset) for record in records]
        if jumps := self._guard.jumps(offsets):
            await self.patience.auntil_done(lambda: self._guard.check(jumps))
        return [self._guard.admits(where, offset) for where, offset in offsets]

    async def take(self, records: Sequence[LogRecord]) -> None:
        """Return when all that follows from the records is durable: they may be acknowledged
        (rule: rows before the acknowledgement).

        What could not be read is counted before that, so that a kill makes it counted again (by
        offset, once) and never not at all.
        """
        refused = await self._stage.take(records)
        self.passed(ends_of(records))
        if refused:
            await self.patience.auntil_done(lambda: self._guard.refused(refused))
        self._records += sum(not record.tick for record in records)

    def passed(self, ends: Mapping[Partition, int]) -> None:
        """All records before these offsets are taken."""
        self._guard.taken(ends)
        self._positions |= ends

    def report(self, partitions: Sequence[Partition], *, ready: bool) -> dict[str, Any]:
        """What the worker tells of itself: the heartbeat."""
        reporting = self._stage if isinstance(self._stage, Reporting) else None
        return {
            "stage": self._config.name,
            "member": self._config.member_id,
            "group": self._config.group_id,
            "topics": list(self._stage.topics),
            "pid": os.getpid(),
            "time": time.time(),
            "partitions": [_name(where) for where in sorted(partitions)],
            "ready": ready,
            "positions": {_name(where): end for where, end in sorted(self._positions.items())},
            "counters": {
                **(reporting.counters if reporting else {}),
                "records": self._records,
            },
            "halted": self._guard.report(),
            "waiting": (reporting.waiting if reporting else "") or self.patience.waiting,
        }


def _name(where: Partition) -> str:
    return f"{where[0]}/{where[1]}"
