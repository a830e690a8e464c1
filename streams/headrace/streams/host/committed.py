"""The host of stages whose topics are written in transactions (rule: only committed records count).

Faust delivers what an aborted transaction wrote; here confluent-kafka reads (read_committed),
and positions are committed by hand when a take is durable. A stage on this host keeps nothing
between takes, so a partition may come and go.
"""

import asyncio
import logging
import signal
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import NoReturn

from headrace.connectors.kafka import (
    GroupReader,
    Guard,
    KafkaConfig,
    KafkaUnavailable,
    LogRecord,
    Partition,
    Patience,
    Registry,
    Stopped,
    ends_of,
    make_guard,
)
from headrace.connectors.worker.exits import EXIT_RESUMED
from headrace.schemas import Codec
from headrace.streams.host.config import HostConfig
from headrace.streams.host.report import make_reporter
from headrace.streams.host.takes import Takes
from headrace.streams.stage import Stage

logger = logging.getLogger(__name__)

_MAX_WAIT_MS = 24 * 3600 * 1000  # waiting for ClickHouse is no reason to lose the partitions
_BEAT_S = 1.0
_GRACE_S = 5.0


def run_committed(make_stage: Callable[[], Stage], config: HostConfig) -> NoReturn:
    """Run a stage until the process is told to stop; never returns.

    Exit codes: 0 stopped, 1 crashed (the supervisor starts it again), 5 a halted partition may go
    on.
    """
    kafka = config.kafka.client(f"headrace.{config.name}")
    guard = make_guard(
        kafka,
        Codec(Registry(config.registry)),
        stage=config.name,
        group=config.group_id,
        limit=config,
    )
    stage = Patience(config.member_id).until_done(make_stage)
    sys.exit(asyncio.run(_Host(stage, config, guard, kafka).run()))


class _Host:
    """One member of the stage's consumer group."""

    def __init__(self, stage: Stage, config: HostConfig, guard: Guard, kafka: KafkaConfig) -> None:
        self._stage = stage
        self._config = config
        self._guard = guard
        self._stop = threading.Event()
        self._patience = Patience(config.member_id, stop=self._stop)
        self._takes = Takes(stage, config, guard, self._patience)
        self._assigned: list[Partition] = []
        self._committed: dict[Partition, int] = {}
        self._loaded = False
        self._asked_at = 0.0
        self._reader = GroupReader(
            kafka,
            stage.topics,
            group=config.group_id,
            on_assigned=self._on_assigned,
            group_instance_id=instance_id(config.member_id, stage.topics),
            session_timeout_ms=int(config.session_timeout_s * 1000),
            max_poll_interval_ms=_MAX_WAIT_MS,
            topic_metadata_refresh_interval_ms=5_000,
            # A position that the log no longer holds is reported, and never skipped.
            auto_offset_reset="error",
            enable_partition_eof=True,
        )

    async def run(self) -> int:
        """Take records until told to stop; returns the exit code. Raises only on bugs and fatal
        errors of the client."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        beating = asyncio.create_task(self._beat())
        try:
            while not self._stop.is_set():
                if await self._may_go_on():
                    logger.warning("%s leaves to read halted partitions on", self._config.member_id)
                    return EXIT_RESUMED
                await self._turn()
        except Stopped:
            logger.info("%s was stopped while it waited", self._config.member_id)
        finally:
            beating.cancel()
            self._reader.close()
        return 0

    async def _turn(self) -> None:
        within = self._config.take_ms / 1000
        records = await asyncio.to_thread(self._reader.read, within, self._config.take_records)
        if not self._loaded and self._assigned:
            await self._stage.assigned(self._assigned)
            self._loaded = True
        await self._check_lost()
        admitted = list(compress(records, await self._takes.admits(records)))
        if not admitted or await self._taken(admitted):
            ends = ends_of(admitted) | self._passed()
            self._takes.passed(ends)
            await asyncio.to_thread(self._reader.commit, ends)
            self._committed |= ends
        self._reader.pause(self._guard.halted)

    def _passed(self) -> dict[Partition, int]:
        """Where reading stands beyond what was committed, if all before it is durable: behind the
        last record lie the markers of transactions, which are no records and would count as lag.
        """
        return {
            where: self._reader.positions[where]
            for where in self._assigned
            if where not in self._guard.halted
            and self._reader.positions.get(where, 0) > self._committed.get(where, 0)
        }

    async def _taken(self, records: Sequence[LogRecord]) -> bool:
        """Take records; False if the process was stopped before they were durable."""
        take = asyncio.create_task(self._takes.take(records))
        stopped_at = None
        while not take.done():
            await asyncio.wait({take}, timeout=0.1)
            if self._stop.is_set():
                stopped_at = stopped_at or time.monotonic()
                if time.monotonic() - stopped_at > _GRACE_S:
                    take.cancel()
                    logger.info("%s stops before a take was durable", self._config.member_id)
                    return False
        await take
        return True

    def _on_assigned(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Begin where the group stopped; what is halted is assigned and not fetched."""
        positions = self._patience.until_done(lambda: self._guard.assigned(partitions))
        self._assigned, self._loaded = list(partitions), False
        self._committed = dict(positions)
        self._reader.positions.clear()
        return positions | {where: halt.end for where, halt in self._guard.halted.items()}

    async def _check_lost(self) -> None:
        """Halt partitions whose next record is gone; anything else is no case for going on."""
        for where, told in self._reader.lost.items():
            if where in self._guard.halted:
                continue
            await self._patience.auntil_done(partial(self._guard.check_expected, where))
            if where not in self._guard.halted:
                raise KafkaUnavailable(f"reading {where[0]}/{where[1]}: {told}")

    async def _may_go_on(self) -> bool:
        """Once a second: whether a person has let a halted partition go on."""
        if not self._guard.halted or time.monotonic() < self._asked_at:
            return False
        self._asked_at = time.monotonic() + _BEAT_S
        return bool(await self._patience.auntil_done(self._guard.resumed))

    async def _beat(self) -> None:
        if (reporter := make_reporter(self._config, self._stage)) is None:
            return
        reporter.serve()
        try:
            while True:
                report = self._takes.report(self._assigned, ready=self._loaded)
                await asyncio.to_thread(reporter.tell, report)
                await asyncio.sleep(_BEAT_S)
        finally:
            reporter.close()


def instance_id(member: str, topics: Sequence[str]) -> str:
    """The static member id (KIP-345) of a worker that subscribes to these topics.

    A static member that comes back at once with other topics keeps its old assignment: with other
    topics it is another member, and the group is shared out again.
    """
    return f"{member}-{zlib.crc32(' '.join(sorted(topics)).encode()):08x}"
