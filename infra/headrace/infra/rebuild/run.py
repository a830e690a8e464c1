"""A rebuild: the stages read the log from its start into a database beside the live one.

They are the live stages under consumer groups of their own, so a rebuild that was killed goes on
where it was, and nothing that is live is touched before its rows are compared. What they send again
is what was sent: versions tie, and readers ignore it. The tables change places when headrace does
not run; one after the other, which does no harm, for they are equal.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace.connectors.clickhouse import ClickHouse, migrate
from headrace.connectors.kafka import KafkaConfig, Offsets, Partition, partitions_of
from headrace.infra.errors import InfraError
from headrace.infra.launch.parts import STAGES, build_parts, prepare_external
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.launch.running import check_rule
from headrace.infra.rebuild.compare import DERIVED, Compared, compare
from headrace.infra.settings import Settings
from headrace.infra.supervise import OnEvent, Part, Supervisor
from headrace.schemas.topics import Topic
from headrace.streams.sink.tables import TOPICS as LOGGED

SILENCE_S = 300.0
"""How long the stages may get no further."""
_EMBEDDED = ("kafka", "registry", "clickhouse")
_READS: Mapping[str, Sequence[str]] = {
    "assemble": (Topic.SPANS,),
    "credit": (Topic.EPISODES,),
    "sink": LOGGED,
}

Progress = Callable[[int, int], None]
"""Records that are read, and how many there are."""


class CannotRebuild(InfraError):
    """The log cannot make the tables again, or a stage gets no further."""


@dataclass(kw_only=True, slots=True)
class Rebuilt:
    """What a rebuild found. `replaced`: whether the rebuilt tables are in place."""

    database: str
    tables: list[Compared] = field(default_factory=list)
    replaced: bool = False
    seconds: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether each rebuilt table has every row as it was."""
        return all(one.equal for one in self.tables)


def rebuild(
    settings: Settings,
    *,
    stages: Sequence[str] = STAGES,
    accept: bool = False,
    groups: Mapping[str, str] | None = None,
    on_event: OnEvent = lambda part, state, message: None,
    progress: Progress = lambda done, total: None,
) -> Rebuilt:
    """Make the tables of stages again from the log, compare them, and put them in place.

    accept: put them in place though rows differ. groups: consumer groups of the live stages, where
    they are not `headrace.<stage>`. Starts the embedded servers, and stops them again.

    Raises:
        AlreadyRunning: headrace runs in the data directory.
        CannotRebuild: the log has lost its beginning, or a stage gets no further.
        PartFailed: a server or stage does not start.
        KafkaUnavailable, ClickHouseUnavailable: a server does not answer.
    """
    check_rule(settings)
    live = {stage: (groups or {}).get(stage, f"headrace.{stage}") for stage in stages}
    parts = build_parts(settings, trainer=False)
    servers = [part for part in parts if part.name in _EMBEDDED]
    before = os.umask(OTHERS)
    try:
        keep_private(settings.directory)
        with Supervisor(servers, on_event, run_dir=settings.directory):
            prepare_external(settings)
            return _rebuild(settings, live, accept, on_event, progress)
    finally:
        os.umask(before)


def _rebuild(
    settings: Settings,
    live: Mapping[str, str],
    accept: bool,
    on_event: OnEvent,
    progress: Progress,
) -> Rebuilt:
    """`rebuild`, with the servers running."""
    kafka = settings.kafka_access.client("headrace.rebuild")
    ends = {stage: _acknowledged(kafka, stage, group) for stage, group in live.items()}
    one = _Rebuild(settings, ends, live)
    began = time.monotonic()
    one.read(on_event, progress)
    done = one.compare()
    if done.equal or accept:
        one.put_in_place()
        done.replaced = True
    done.seconds = time.monotonic() - began
    return done


def _acknowledged(kafka: KafkaConfig, stage: str, group: str) -> dict[Partition, int]:
    """How far the live stage is in its topics. Raises CannotRebuild unless all of it is there."""
    offsets = Offsets(kafka)
    where = [(t, number) for t in _READS[stage] for number in range(partitions_of(kafka, t))]
    if lost := sorted({topic for (topic, _), start in offsets.starts(where).items() if start > 0}):
        raise CannotRebuild(
            f"the log of {', '.join(lost)} has lost its beginning by retention: the tables of "
            f"{stage} hold what it has not; leave them as they are and name other stages (--stage)"
        )
    return {one: end for one, end in offsets.committed(group, where).items() if end > 0}


class _Rebuild:
    def __init__(
        self,
        settings: Settings,
        ends: Mapping[str, Mapping[Partition, int]],
        live: Mapping[str, str],
    ) -> None:
        self._live = settings
        self._database = f"{settings.clickhouse.database}_rebuild"
        beside = replace(settings.clickhouse, database=self._database)
        self._settings = replace(settings, clickhouse=beside)
        self._ends = ends
        self._live_groups = live
        self._groups: dict[str, str] = {}
        self._offsets = Offsets(settings.kafka_access.client("headrace.rebuild"))

    def read(self, on_event: OnEvent, progress: Progress) -> None:
        """Let the stages read as far as the live ones have acknowledged."""
        self._groups = self._begin_or_go_on()
        directory = self._settings.directory / "rebuild"
        directory.mkdir(exist_ok=True)
        parts = build_parts(self._settings, trainer=False)
        stages = [self._part(part, directory) for part in parts if part.name in self._ends]
        with Supervisor(stages, on_event, run_dir=directory):
            self._await(progress)

    def compare(self) -> Rebuilt:
        """The live tables against the rebuilt ones."""
        client = ClickHouse(self._live.clickhouse_config)
        try:
            tables = [
                compare(client, one, rebuilt=self._database)
                for stage in self._ends
                for one in DERIVED[stage]
            ]
        finally:
            client.close()
        return Rebuilt(database=self._database, tables=tables)

    def put_in_place(self) -> None:
        """Exchange the tables, and let go of the old ones and of the places in the log."""
        client = ClickHouse(self._live.clickhouse_config)
        try:
            for stage in self._ends:
                for one in DERIVED[stage]:
                    here = f"{self._live.clickhouse.database}.{one.name}"
                    client.command(f"EXCHANGE TABLES {here} AND {self._database}.{one.name}")
            client.command(f"DROP DATABASE {self._database} SYNC")
        finally:
            client.close()
        self._offsets.forget(self._groups.values())

    def _begin_or_go_on(self) -> dict[str, str]:
        """Make the database, if it is not there, and say under which groups the log is read.

        They bear the database's own id: where it was made again, the log is read from its start.
        """
        client = ClickHouse(self._settings.clickhouse_config)
        try:
            migrate.apply(client)
            (row,) = client.query(
                "SELECT toString(uuid) AS id FROM system.databases WHERE name = {name:String}",
                {"name": self._database},
            )
        finally:
            client.close()
        return {stage: f"{group}.rebuild-{row['id']}" for stage, group in self._live_groups.items()}

    def _part(self, part: Part, directory: Path) -> Part:
        own = {
            "HEADRACE_GROUP": self._groups[part.name],
            "HEADRACE_WORKER": f"rebuild-{part.name}",
            "HEADRACE_RUN_DIRECTORY": str(directory / "run"),
            "HEADRACE_DATA_DIRECTORY": str(directory),
        }
        heartbeat = directory / "run" / f"rebuild-{part.name}.json"
        return replace(
            part,
            env={**part.env, **own},
            depends=(),
            prepare=lambda: heartbeat.unlink(missing_ok=True),
            ready=heartbeat.exists,
            log=directory / f"{part.name}.log",
        )

    def _await(self, progress: Progress) -> None:
        total = sum(end for ends in self._ends.values() for end in ends.values())
        last, since = -1, time.monotonic()
        while True:
            read = self._read()
            done = sum(read.values())
            progress(done, total)
            if done == total:
                return
            if done != last:
                last, since = done, time.monotonic()
            elif time.monotonic() - since > SILENCE_S:
                where = ", ".join(f"{t}/{p}" for (t, p), n in read.items() if n < self._end((t, p)))
                raise CannotRebuild(
                    f"nothing more of {where} is read: see the logs in "
                    f"{self._settings.directory / 'rebuild'}; run it again to go on"
                )
            time.sleep(0.5)

    def _end(self, where: Partition) -> int:
        return max(ends.get(where, 0) for ends in self._ends.values())

    def _read(self) -> dict[Partition, int]:
        """By partition how far the rebuild is, and no further than wanted."""
        read: dict[Partition, int] = {}
        for stage, ends in self._ends.items():
            committed = self._offsets.committed(self._groups[stage], ends)
            read |= {where: min(end, committed.get(where, 0)) for where, end in ends.items()}
        return read
