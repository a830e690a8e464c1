"""The assembler's shell: a take is told at once, and its tables are written behind the stream.

Spans and rows of many takes are stored as one block each, and acknowledged then (rule: rows before
the acknowledgement). Whoever dies before goes back to the last acknowledged take and says the same
again, for every snapshot is a function of a prefix of its partition.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    UNKNOWN_SCHEMA_S,
    DeadLetter,
    DeadLetters,
    Outgoing,
    Partition,
    Patience,
    Registry,
    Writer,
    partitions_of,
)
from headrace.schemas import Codec, Unavailable
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import RowState
from headrace.streams.assemble.build import NO_REPEATS, REPEATED_SCHEMA, Built, build
from headrace.streams.assemble.columns import NO_SPANS, SPANS_SCHEMA, as_rows
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.assemble.intake import BatchReader
from headrace.streams.assemble.keys import key_of, keys_of, parts_of
from headrace.streams.assemble.outbox import EPISODES, outgoing
from headrace.streams.assemble.owed import Owed
from headrace.streams.assemble.spans import Spans
from headrace.streams.errors import StoreInconsistent
from headrace.streams.host.config import HostConfig
from headrace.streams.known import NUMBER, Known
from headrace.streams.ports import Letters, Log, Tables, bury, by_query
from headrace.streams.stage import LogRecord, Stage

NAME, SPANS = "assemble", Topic.SPANS
_EPISODE_IN = "(project, rollout_id, attempt) IN {keys:Array(Tuple(String, String, String))}"
_KNOWN = f"SELECT DISTINCT project, rollout_id, attempt FROM episodes WHERE {_EPISODE_IN}"
_REBUILD = (
    f"SELECT {', '.join(SPANS_SCHEMA.names)} FROM spans FINAL WHERE {_EPISODE_IN} ORDER BY offset"
)
_REPEATED = (
    f"SELECT {', '.join(REPEATED_SCHEMA.names)} FROM repeated_batches FINAL WHERE {_EPISODE_IN}"
)
_NUMBERS = (
    f"SELECT {NUMBER}(concat(project, '/', rollout_id, '/', attempt)) AS number FROM episodes"
    " WHERE partition = {partition:UInt32}"
)
# The filter on `state` is after FINAL: an open row may be outvoted by a closed one.
_OPEN = (
    "SELECT project, rollout_id, attempt, toInt64(partition) AS home, close_by FROM "
    "(SELECT * FROM episodes FINAL WHERE partition IN {partitions:Array(UInt32)}) "
    f"WHERE state = '{RowState.OPEN}'"
)


class AssembleStage:
    """Spans to episodes on one worker's partitions."""

    name = NAME
    topics = (SPANS,)

    def __init__(
        self,
        config: AssembleConfig,
        *,
        codec: Codec,
        tables: Tables,
        log: Log,
        dead_letters: Letters,
        span_partitions: int,
        episode_partitions: int,
        unknown_schema_s: float = UNKNOWN_SCHEMA_S,
        known: Known | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._config = config
        self._codec = codec
        self._tables = tables
        self._log = log
        self._dead_letters = dead_letters
        self._episode_partitions = episode_partitions
        self._patience = Patience(NAME)
        self._storing = Patience(NAME)
        self._owed = Owed(tables, self._storing)
        self._folding = asyncio.Lock()
        self._known_ids = known or Known()
        self._assembler = Assembler(config)
        self._reader = BatchReader(
            codec,
            partitions=span_partitions,
            stage=NAME,
            unknown_schema_s=unknown_schema_s,
        )

    @property
    def waiting(self) -> str:
        """What the stage waits for; '' for nothing."""
        return self._patience.waiting or self._storing.waiting

    def next_deadline(self, where: Partition) -> int | None:
        """Log time in milliseconds at which an episode of the partition may have to close."""
        return self._assembler.next_deadline(where[1])

    @property
    def owed_bytes(self) -> int:
        """Bytes of spans and rows that are told and not stored."""
        return self._owed.bytes

    async def store(self) -> None:
        """Store what the takes that have returned owe; takes may go on meanwhile."""
        async with self._folding:
            opened = await asyncio.to_thread(self._opened)
            self._owed.add(Spans(), opened.repeats, opened.rows)
        await self._owed.store()

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Load the open episodes of the partitions as stubs, and the ids of all."""
        for _, partition in partitions:
            found = await self._query(_NUMBERS, {"partition": partition})
            self._known_ids.add(found.column("number").to_numpy())
        table = await self._query(_OPEN, {"partitions": [partition for _, partition in partitions]})
        for row in table.to_pylist():
            key = key_of(row["project"], row["rollout_id"], row["attempt"])
            self._assembler.stub(row["home"], key, row["close_by"])

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Read, look up, fold and tell; returns what could not be read. `store` does the rest."""
        for record in records:
            self._assembler.advance(record.partition, record.log_time, record.offset)
        spans, letters = await self._read([record for record in records if not record.tick])
        rebuild, touched = await self._absent(spans)
        owed = spans
        if rebuild:
            # They are read back with the take's own spans. None of it is acknowledged yet, and
            # nothing evicted, which only a whole `store` allows.
            await self._owed.store_spans(spans)
            owed = Spans()
        rebuilt = await self._rebuild(rebuild, touched)
        repeats = await self._repeats(rebuild)
        # A store meanwhile would write rows of what nobody was told: an episode that closes by its
        # time alone has no record that is read again, and would never be told.
        async with self._folding:
            built, outbox, away = await asyncio.to_thread(
                self._folded_and_told, spans, rebuilt, rebuild, repeats
            )
            if away:
                await self._patience.apause(away)
                await self._patience.auntil_done(lambda: self._tell(built, outbox))
            self._owed.add(owed, built.repeats, built.rows)
        if self._assembler.full:
            await self.store()  # (rule: eviction follows the store)
            self._known_ids.note(self._assembler.evict())
        self._count(spans, built, rebuild)
        return letters

    async def _absent(self, spans: Spans) -> tuple[list[str], list[str]]:
        """Episodes to be rebuilt, and those of them that the take touches."""
        needs = self._assembler.needs(spans.grouped.keys)
        asked = self._known_ids.among(needs.unknown)
        self.counters["asked"] += len(asked)
        touched = [*await self._known(asked), *needs.stubs]
        return list(dict.fromkeys([*touched, *needs.due])), touched

    def _folded_and_told(
        self,
        spans: Spans,
        rebuilt: pa.RecordBatch,
        rebuild: Sequence[str],
        repeats: pa.RecordBatch,
    ) -> tuple[Built, list[list[Outgoing]], str]:
        """In one go, for a thread that wakes up costs as much as a small take: what was built, what
        of it is not told yet, and the reason: '' where all of it is.
        """
        built = self._folded(spans, rebuilt, rebuild, repeats)
        outbox: list[list[Outgoing]] = []
        try:
            self._tell(built, outbox)
        except Unavailable as error:
            return built, outbox, str(error) or "the log"
        return built, outbox, ""

    def _folded(
        self,
        spans: Spans,
        rebuilt: pa.RecordBatch,
        rebuild: Sequence[str],
        repeats: pa.RecordBatch,
    ) -> Built:
        if rebuild:
            self._assembler.restore(rebuilt, rebuild, repeats)
        self._assembler.fold(spans)
        return build(self._assembler.settle(), most_text=self._config.message_bytes)

    def _opened(self) -> Built:
        return build(self._assembler.settle_open(), most_text=self._config.message_bytes)

    def _outbox(self, built: Built) -> list[list[Outgoing]]:
        """What is told: samples are acknowledged before the first episode is sent."""
        records = outgoing(
            built,
            self._codec,
            partitions=self._episode_partitions,
            message_bytes=self._config.message_bytes,
        )
        samples = [record for record in records if record.topic != EPISODES]
        episodes = [record for record in records if record.topic == EPISODES]
        return [part for part in (samples, episodes) if part]

    async def _read(self, records: Sequence[LogRecord]) -> tuple[Spans, Sequence[DeadLetter]]:
        """The take's spans, and its dead letters.

        What cannot be taken here is on its way before anything else.
        """
        intake = await self._reader.read(records, self._patience)
        await bury(self._patience, self._dead_letters, intake.letters)
        self.counters["dead_letters"] += len(intake.letters)
        if intake.forwards:
            await self._patience.auntil_done(lambda: self._log.send(intake.forwards))
        self.counters["forwarded"] += len(intake.forwards)
        return Spans(intake.batches), intake.letters

    async def _known(self, keys: Sequence[str]) -> list[str]:
        """Of `keys` those that have a row in `episodes`.

        Not `spans`: an open row is written before the take that opened the episode is
        acknowledged, so without a row all of its spans are still to come.
        """
        known = []
        for some in by_query(keys):
            table = await self._query(_KNOWN, {"keys": [parts_of(key) for key in some]})
            known += [key_of(*row.values()) for row in table.to_pylist()]
        return known

    async def _rebuild(self, keys: Sequence[str], touched: Sequence[str]) -> pa.RecordBatch:
        """All spans of some episodes, in log order within each."""
        tables = [
            await self._query(_REBUILD, {"keys": [parts_of(key) for key in some]})
            for some in by_query(keys)
        ]
        if not tables:
            return NO_SPANS
        spans = as_rows(tables, SPANS_SCHEMA)
        if lost := set(touched) - set(keys_of(spans)[0]):
            raise StoreInconsistent(
                f"spans shows nothing of {len(lost)} episodes whose spans were just inserted, "
                f"as {sorted(lost)[0]}: reads must see earlier inserts (one replica, or "
                "insert_quorum with select_sequential_consistency)"
            )
        return spans

    async def _repeats(self, keys: Sequence[str]) -> pa.RecordBatch:
        """The batches of some episodes that only repeated spans."""
        if not keys:
            return NO_REPEATS
        tables = [
            await self._query(_REPEATED, {"keys": [parts_of(key) for key in some]})
            for some in by_query(keys)
        ]
        return as_rows(tables, REPEATED_SCHEMA)

    def _tell(self, built: Built, outbox: list[list[Outgoing]]) -> None:
        """Send each part when the one before is acknowledged; blocking, and done again as it is.

        `outbox`: what is left of the last time, empty at first.
        """
        if not outbox and built.episodes:
            outbox += self._outbox(built)
        while outbox:
            self._log.send(outbox[0])
            del outbox[0]

    async def _query(self, sql: str, parameters: dict[str, object]) -> pa.Table:
        return await self._patience.auntil_done(lambda: self._tables.query_arrow(sql, parameters))

    def _count(self, spans: Spans, built: Built, rebuild: Sequence[str]) -> None:
        self.counters["spans"] += spans.n
        self.counters["episodes"] += len(built.episodes)
        self.counters["samples"] += len(built.samples)
        self.counters["rebuilt"] += len(rebuild)
        self.counters["takes"] += 1
        self.counters["in_memory"] = self._assembler.episodes
        self.counters["stubs"] = self._assembler.stubs
        self.counters["open"] = self._assembler.open_episodes
        self.counters["memory_bytes"] = self._assembler.held_bytes


def make_stage(config: AssembleConfig, host: HostConfig) -> Stage:
    """The stage on the servers that the host's configuration names.

    Raises KafkaUnavailable, TopicMissing.
    """
    # Short, for a send that is not acknowledged is reported and repeated with the same bytes.
    kafka = host.kafka.client(f"headrace.{NAME}", delivery_timeout_ms=30_000)
    return AssembleStage(
        config,
        codec=Codec(Registry(host.registry)),
        tables=ClickHouse(host.clickhouse),
        log=Writer(kafka),
        dead_letters=DeadLetters(kafka),
        span_partitions=partitions_of(kafka, SPANS),
        episode_partitions=partitions_of(kafka, EPISODES),
        unknown_schema_s=host.unknown_schema_s,
    )
