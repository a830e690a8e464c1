"""An audit: the acknowledged log against the tables, while everything goes on.

What a stage has acknowledged is durable in its tables (rule: rows before the acknowledgement), so
the log is compared as far as that. Counts that run ahead of each other in a live system are asked
for in the order in which they are written, and what seems to lack is asked for again.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    KafkaConfig,
    LogRecord,
    Offsets,
    Registry,
    Stretch,
    partitions_of,
    read_stretch,
)
from headrace.infra.audit.difference import Audit, Kind
from headrace.infra.audit.log import acknowledged, dead_letters
from headrace.infra.audit.sequences import Sequences
from headrace.infra.audit.spans import Row, compare, rows_of, verdict
from headrace.infra.audit.tables import Tables
from headrace.infra.settings import Settings
from headrace.schemas import Codec, SchemaError, Unavailable
from headrace.schemas.topics import StageGroup, Topic
from headrace.streams.assemble.columns import LoggedBatch, spans_of
from headrace.streams.assemble.intake import BatchReader

SPANS_AT_ONCE = 200_000
PATIENCE_S = 10.0

Progress = Callable[[int, int], None]
"""Records that are read, and how many there are."""


def audit(
    settings: Settings,
    *,
    project: str | None = None,
    groups: tuple[str, str] = (StageGroup.ASSEMBLE, StageGroup.CREDIT),
    progress: Progress = lambda done, total: None,
) -> Audit:
    """Compare the log with the tables, of one project or of all.

    groups: consumer groups of the assemble and the credit stage.

    Raises:
        KafkaUnavailable, RegistryUnavailable, ClickHouseUnavailable: a part does not answer.
    """
    kafka = settings.kafka_access.client("headrace.audit")
    client = ClickHouse(settings.clickhouse_config)
    try:
        tables = Tables(client, project)
        found = Audit()
        part = acknowledged(kafka, Topic.SPANS, groups[0])
        codec = Codec(Registry(settings.registry_access))
        _Spans(kafka, codec, tables, found, project).run(part, progress)
        bounds = [part.ends[Topic.SPANS, number] for number in range(len(part.ends))]
        _episodes(tables, found, bounds)
        _credit(kafka, tables, found, groups[1])
        return found
    finally:
        client.close()


class _Spans:
    """Spans and producers' numbers."""

    def __init__(
        self, kafka: KafkaConfig, codec: Codec, tables: Tables, found: Audit, project: str | None
    ) -> None:
        self._kafka = kafka
        self._tables = tables
        self._found = found
        self._project = project
        partitions = partitions_of(kafka, Topic.SPANS)
        self._reader = BatchReader(codec, partitions=partitions, stage="audit", unknown_schema_s=0)
        self._sequences = Sequences()
        self._letters: dict[int, frozenset[int]] = {}
        self._held: dict[int, list[LoggedBatch]] = defaultdict(list)
        self._set_aside: dict[int, list[LoggedBatch]] = defaultdict(list)
        self._unreadable: Counter[int] = Counter()
        self._from: dict[int, int] = {}

    def run(self, part: Stretch, progress: Progress) -> None:
        self._from = {partition: start for (_, partition), start in part.starts.items()}
        done = 0
        for records in read_stretch(self._kafka, Topic.SPANS, part, name="headrace.audit"):
            for record in records:
                self._take(record)
            done += len(records)
            progress(done, part.records)
        for (_, partition), end in part.ends.items():
            self._flush(partition, end)
        self._found.count("records", acknowledged=done, given_up=self._tables.dropped_ranges())
        self._holes(part)

    def _holes(self, part: Stretch) -> None:
        """Numbers that the log lacks; as many as records of the partition were unreadable may be
        theirs, for nobody can read the number of one.
        """
        missing: Counter[int] = Counter()
        found = list(self._sequences.holes(0 if part.whole else None))
        for _, partition, (first, last) in found:
            missing[partition] += last + 1 - first
        explained = {p for p, number in missing.items() if number <= self._unreadable[p]}
        for producer, partition, (first, last) in found:
            if partition not in explained:
                self._found.add(
                    Kind.MISSING_BATCH,
                    f"{Topic.SPANS}/{partition}",
                    f"producer {producer}: batches {first} to {last} are not in the log",
                )
        for partition in sorted(explained):
            self._found.notes.append(
                f"{Topic.SPANS}/{partition}: {missing[partition]} numbers of batches are those of "
                f"dead letters, of which there are {self._unreadable[partition]}"
            )
        self._found.count(
            "producers", incarnations=self._sequences.producers, missing=missing.total()
        )
        if not part.whole:
            self._found.notes.append(
                "the log has lost its beginning by retention: what was there is not compared"
            )

    def _take(self, record: LogRecord) -> None:
        if record.tick:
            return
        letter = record.offset in self._letters_of(record.partition)
        if letter:
            self._found.count("records", dead_lettered=1)
        try:
            batch = self._reader.batch_of(record)
        except Unavailable:
            raise
        except SchemaError as error:
            self._unreadable[record.partition] += 1
            if not letter:
                where = f"{record.topic}/{record.partition}/{record.offset}"
                self._found.add(
                    Kind.UNREAD, where, f"cannot be read and is no dead letter: {error}"
                )
            return
        columns = batch.columns
        names = {episode["project"] for episode in columns.episodes}
        if self._project is not None and self._project not in names:
            return
        if not record.forwarded:
            self._sequences.add(columns.producer, record.partition, columns.sequence)
        (self._set_aside if letter else self._held)[record.partition].append(batch)
        held = self._held[record.partition]
        if sum(one.columns.n for one in held) >= SPANS_AT_ONCE:
            self._flush(record.partition, record.offset + 1)

    def _letters_of(self, partition: int) -> frozenset[int]:
        if partition not in self._letters:
            self._letters[partition] = dead_letters(self._kafka, partition, "assemble")
        return self._letters[partition]

    def _flush(self, partition: int, end: int) -> None:
        """Compare what is held of a partition with the rows up to an offset."""
        start, self._from[partition] = self._from[partition], end
        batches = self._held.pop(partition, [])
        log = rows_of(spans_of(batches), self._project)
        set_aside = rows_of(spans_of(self._set_aside.pop(partition, [])), self._project)
        compared = compare(log, self._tables.at_offsets(partition, start, end), set_aside=set_aside)
        for row in sorted(compared.only_table):
            self._found.add(Kind.EXTRA, _span(partition, row), "stands in `spans` alone")
        first = self._tables.first_offsets(compared.only_log) if compared.only_log else {}
        repeated = lost = 0
        for row in sorted(compared.only_log):
            what = verdict(row, first)
            repeated += what == "repeated"
            lost += what == "lost"
            if what == "lost":
                self._found.add(Kind.LOST, _span(partition, row), "stands in the log alone")
            elif what != "repeated":
                self._found.add(Kind.OTHER_PLACE, _span(partition, row), what)
        self._found.count(
            "spans",
            in_log=len(log),
            repeated=repeated,
            lost=lost,
            extra=len(compared.only_table),
        )


def _span(partition: int, row: Row) -> str:
    return f"{Topic.SPANS}/{partition}/{row[4]} {row[0]}/{row[1]}/{row[2]}/{row[3]}"


def _episodes(tables: Tables, found: Audit, bounds: list[int]) -> None:
    found.count("spans", stored=tables.stored(bounds))
    for row in tables.miscounted(bounds):
        counted = f"its row counts {row['counted']}" if row["counted"] else "it has no row"
        found.add(Kind.EPISODE, _episode(row), f"{row['spans']} spans, {counted}")
    for row in tables.overcounted():
        detail = f"{row['spans']} spans, its row counts {row['n_spans']}"
        found.add(Kind.EPISODE, _episode(row), detail)
    found.count("episodes", **tables.episodes())


def _credit(kafka: KafkaConfig, tables: Tables, found: Audit, group: str) -> None:
    """Whatever seems to lack is asked for again once the credit stage has read all there is now."""
    waiting = tables.not_in_groups()
    orphans = tables.outcomes_without_credit()
    if (waiting or orphans) and _caught_up(kafka, group):
        known = {_episode(row) for row in tables.not_in_groups()}
        for row in waiting:
            if _episode(row) in known:
                detail = f"version {row['version']} is closed and in no group"
                found.add(Kind.NOT_CREDITED, _episode(row), detail)
        left = {row["sample_id"] for row in tables.outcomes_without_credit()}
        for row in orphans:
            if row["sample_id"] in left:
                found.add(Kind.OUTCOME, row["sample_id"], "was trained and is in no group")
        waiting = []
    elif orphans:
        found.notes.append(f"{len(orphans)} outcomes wait for the rows of their groups")
    found.count("episodes", credited=tables.credited(), waiting=len(waiting))
    for row in tables.decided_twice():
        detail = f"was trained and dropped by {row['trainer']}"
        found.add(Kind.OUTCOME, row["sample_id"], detail)
    found.count("samples", **tables.outcomes())


def _episode(row: dict[str, object]) -> str:
    return f"{row['project']}/{row['rollout_id']}/{row['attempt']}"


def _caught_up(kafka: KafkaConfig, group: str) -> bool:
    """Whether the credit stage acknowledges within PATIENCE_S all that the log holds now."""
    offsets = Offsets(kafka)
    partitions = [(Topic.EPISODES, n) for n in range(partitions_of(kafka, Topic.EPISODES))]
    ends = offsets.ends(partitions)
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        committed = offsets.committed(group, partitions)
        if all(committed.get(each, 0) >= end for each, end in ends.items()):
            return True
        time.sleep(0.2)
    return False
