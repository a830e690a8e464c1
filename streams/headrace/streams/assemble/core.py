"""The assembler's sets: which spans an episode has, and whether it is closed. Pure.

Every operation is a function of the log alone: a duplicate changes nothing, the first occurrence
wins, time is the log's. So whatever is forgotten can be rebuilt, and two workers that saw the
same prefix of a partition say the same of each episode (docs/design.md has the rules).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.schemas.spans import Array
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.episode import EpisodeState, Limits
from headrace.streams.assemble.keys import Grouped, group, span_numbers
from headrace.streams.deadlines import Deadlines, earliest

_SPAN_BYTES = 120  # of a span id in a set and its row numbers, beside the columns


@dataclass(kw_only=True, slots=True, frozen=True)
class Snapshot:
    """What a fold says of one episode. `version` = 2·n_spans + closed; times are log time, ms."""

    key: str
    partition: int
    version: int
    n_spans: int
    digest: int
    closed: bool
    closed_by: str
    close_by: int
    log_first: int
    log_last: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Folded:
    """What a take changed: s snapshots, and the spans they are made of.

    rows: n spans of SPANS_SCHEMA, those of one snapshot in the order of offset, start and id; slot
    [n]: the snapshot each belongs to.
    """

    snapshots: list[Snapshot]
    rows: pa.Table
    slot: Array


@dataclass(slots=True)
class _Held:
    """A batch in memory, the episodes that have rows in it, and what it costs."""

    batch: pa.RecordBatch
    keys: list[str]
    size: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Needs:
    """Episodes that are not in memory and that a take touches, or whose time has come."""

    unknown: list[str]
    """Nothing is known of them here: ask whether they are stored."""
    stubs: list[str]
    """Open ones that are stored: rebuild them."""
    due: list[str]
    """Open ones whose deadline has passed: rebuild them, then they can be closed."""


class Assembler:
    """Episodes of the partitions of one worker. Memory is a cache: any episode may be evicted.

    A take goes: `advance`, `needs` (look these up and `restore` them), `fold`, `settle`, which
    says what to publish, and `evict` once all of it is durable.
    """

    def __init__(self, config: AssembleConfig) -> None:
        self.config = config
        self._limits = Limits(
            idle_ms=config.idle_ms,
            max_age_ms=config.max_age_ms,
            grace_ms=config.deadline_grace_ms,
        )
        self._episodes: dict[str, EpisodeState] = {}
        self._stubs: dict[str, int] = {}  # key -> partition
        self._stub_deadlines: Deadlines[str] = Deadlines()
        self._open_deadlines: Deadlines[str] = Deadlines()
        self._next: dict[int, int] = {}
        self._touched: dict[str, EpisodeState] = {}
        self._restored: frozenset[str] = frozenset()
        self._clocks: dict[int, int] = {}
        self._held: dict[int, _Held] = {}
        self._held_bytes = 0
        self._takes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of spans in memory."""
        return self._held_bytes

    @property
    def episodes(self) -> int:
        """Episodes in memory, open and closed."""
        return len(self._episodes)

    @property
    def stubs(self) -> int:
        """Open episodes of which only the id and a deadline are known."""
        return len(self._stubs)

    def stub(self, partition: int, key: str, close_by: int) -> None:
        """An open episode that is stored but not held; `close_by` may be too early, never late."""
        self._stubs[key] = partition
        self._stub_deadlines.arm(partition, key, close_by)
        self._refresh()

    def next_deadline(self, partition: int) -> int | None:
        """Log time (ms) at which an open episode of the partition may have to close, or None.

        As of the last `settle` or `evict`: the host's ticker asks from a thread of its own.
        """
        return self._next.get(partition)

    def advance(self, partition: int, log_time: int) -> None:
        """The partition's log has reached this time."""
        self._clocks[partition] = max(self._clocks.get(partition, 0), log_time)

    def needs(self, keys: Iterable[str]) -> Needs:
        """What to look up before a take that touches episodes `keys` is folded.

        An episode of which nothing is known is asked for whatever its batch says of itself: it
        may be a re-send, or not the first (rule: what is not held is asked for).
        """
        absent = [key for key in keys if key not in self._episodes]
        return Needs(
            unknown=[key for key in absent if key not in self._stubs],
            stubs=[key for key in absent if key in self._stubs],
            due=self._due_stubs(),
        )

    def restore(self, spans: pa.RecordBatch, keys: Iterable[str]) -> None:
        """Take back episodes `keys` with all of their spans as the store has them.

        The take's own spans are among these, so `fold` skips them. A restored episode is settled
        whether it changed or not: its spans were in the table before anybody told of them (rule:
        dirty rebuilds are emitted).
        """
        self._restored = frozenset(keys)
        for key in self._restored:
            if (partition := self._stubs.pop(key, None)) is not None:
                self._stub_deadlines.disarm(partition, key)
        self._touched |= self._absorb(spans, skip=frozenset())

    def fold(self, batch: pa.RecordBatch) -> None:
        """Add a take's spans, in log order; a span that is there already changes nothing."""
        self._touched |= self._absorb(batch, skip=self._restored)

    def settle(self) -> Folded:
        """What the take changed, and what its time has closed: this is to be published."""
        touched = self._touched | self._expire()
        states = [
            state for key, state in touched.items() if key in self._restored or state.unpublished()
        ]
        self._touched, self._restored = {}, frozenset()
        for state in states:
            state.published()
        self._refresh()
        return self._gather(states)

    def evict(self) -> None:
        """Forget the oldest takes until memory is in bounds; call it when rows are durable.

        An open episode is not forgotten whole (rule: eviction leaves a stub).
        """
        while self._held_bytes > self.config.memory_bytes:
            number = next(iter(self._held))
            held = self._held.pop(number)
            self._held_bytes -= held.size
            for key in held.keys:
                state = self._episodes.get(key)
                # The episode may be gone, or gone and rebuilt into a later take.
                if state is not None and number in state.rows:
                    self._forget(state)
        self._refresh()

    def _forget(self, state: EpisodeState) -> None:
        del self._episodes[state.key]
        if not state.closed:
            close_by = state.close_by(self._limits)
            self._open_deadlines.disarm(state.partition, state.key)
            self._stubs[state.key] = state.partition
            self._stub_deadlines.arm(state.partition, state.key, close_by)

    def _refresh(self) -> None:
        self._next = earliest(self._stub_deadlines, self._open_deadlines)

    def _due_stubs(self) -> list[str]:
        due: list[str] = []
        for partition, clock in self._clocks.items():
            room = self.config.expired_per_take - len(due)
            due += self._stub_deadlines.due(partition, clock - 1, room)
        return due

    def _absorb(self, batch: pa.RecordBatch, skip: frozenset[str]) -> dict[str, EpisodeState]:
        if not batch.num_rows:
            return {}
        grouped = group(batch)
        self._takes += 1
        touched: dict[str, EpisodeState] = {}
        added = _Additions(grouped)
        for slot, key in enumerate(grouped.keys):
            if key in skip:
                continue
            state = self._episodes.get(key)
            if state is None:
                state = EpisodeState(key=key, partition=added.partition(slot))
                self._episodes[key] = state
            before = state.close_by(self._limits) if state.ids else None
            rows = added.add(state, slot, self._limits)
            if len(rows):
                state.rows[self._takes] = rows
                touched[key] = state
            if state.closed:
                self._open_deadlines.disarm(state.partition, key)
            elif before is None or state.close_by(self._limits) < before:
                self._watch(state)
        if touched:
            size = batch.nbytes + _SPAN_BYTES * batch.num_rows
            self._held[self._takes] = _Held(batch=batch, keys=list(touched), size=size)
            self._held_bytes += size
        return touched

    def _watch(self, state: EpisodeState) -> None:
        self._open_deadlines.arm(state.partition, state.key, state.close_by(self._limits))

    def _expire(self) -> dict[str, EpisodeState]:
        """Close what the partitions' clocks have passed; re-arm what lives longer by now."""
        closed: dict[str, EpisodeState] = {}
        for partition, clock in self._clocks.items():
            for key in self._open_deadlines.due(partition, clock - 1):
                state = self._episodes[key]
                if state.pass_time(clock, self._limits):
                    closed[key] = state
                else:
                    self._watch(state)
        return closed

    def _gather(self, states: Sequence[EpisodeState]) -> Folded:
        """The spans of some episodes in one table, from whichever takes hold them.

        An episode's spans stand in the order of offset, start and id, which no take or rebuild
        changes: of two takes the later holds the higher offsets.
        """
        parts: dict[int, list[tuple[int, Array]]] = {}
        for slot, state in enumerate(states):
            for number, rows in state.rows.items():
                parts.setdefault(number, []).append((slot, rows))
        tables, slots = [], [np.zeros(0, np.int64)]
        for number, chosen in sorted(parts.items()):
            rows = np.concatenate([rows for _, rows in chosen])
            counts = [len(rows) for _, rows in chosen]
            slot_of = np.repeat(np.array([slot for slot, _ in chosen]), counts)
            batch = self._held[number].batch
            order = _in_order(batch, rows)
            tables.append(pa.Table.from_batches([batch.take(pa.array(rows[order]))]))
            slots.append(slot_of[order])
        return Folded(
            snapshots=[_snapshot(state, self._limits) for state in states],
            rows=pa.concat_tables(tables) if tables else pa.table({}),
            slot=np.concatenate(slots),
        )


def _in_order(batch: pa.RecordBatch, rows: Array) -> Array:
    """The order of some rows of a batch by offset, start and id."""
    keys = batch.select(["span_id", "started_at", "offset"]).take(pa.array(rows))
    order: Array = np.lexsort(
        (span_numbers(keys), keys.column(1).to_numpy(), keys.column(2).to_numpy())
    )
    return order


def _snapshot(state: EpisodeState, limits: Limits) -> Snapshot:
    return Snapshot(
        key=state.key,
        partition=state.partition,
        version=state.version,
        n_spans=len(state.ids),
        digest=state.digest,
        closed=state.closed,
        closed_by=state.closed_by,
        close_by=state.close_by(limits),
        log_first=state.log_first,
        log_last=state.log_last,
    )


class _Additions:
    """A grouped batch with its per-episode sums, ready to be added episode by episode."""

    def __init__(self, grouped: Grouped) -> None:
        self.grouped = grouped
        first = grouped.starts[:-1]
        gaps = np.diff(grouped.log_time, prepend=grouped.log_time[:1])
        gaps[first] = 0
        self.starts: list[int] = grouped.starts.tolist()
        self.ids: list[int] = grouped.span_id.tolist()
        self.sums: list[int] = np.add.reduceat(grouped.mixed, first).tolist()
        self.widest: list[int] = np.maximum.reduceat(gaps, first).tolist()
        self.ended: list[bool] = np.logical_or.reduceat(grouped.ended, first).tolist()
        self.bounds: list[int] = np.minimum.reduceat(grouped.bound, first).tolist()
        self.log_first: list[int] = grouped.log_time[first].tolist()
        self.log_last: list[int] = np.maximum.reduceat(grouped.log_time, first).tolist()
        self._partitions: list[int] = grouped.partition[first].tolist()

    def partition(self, slot: int) -> int:
        """The partition in which the episode lives."""
        return self._partitions[slot]

    def add(self, state: EpisodeState, slot: int, limits: Limits) -> Array:
        """Add the slot's spans to its episode; returns the batch's rows that were new."""
        low, high = self.starts[slot], self.starts[slot + 1]
        ids = self.ids[low:high]
        if state.takes_plainly(
            ids,
            first=self.log_first[slot],
            last=self.log_last[slot],
            widest=self.widest[slot],
            bound=self.bounds[slot],
            limits=limits,
        ):
            state.add_all(
                ids,
                mixed=self.sums[slot],
                first=self.log_first[slot],
                last=self.log_last[slot],
                ended=self.ended[slot],
                bound=self.bounds[slot],
            )
            return self.grouped.row[low:high]
        return self._add_singly(state, low, high, limits)

    def _add_singly(self, state: EpisodeState, low: int, high: int, limits: Limits) -> Array:
        grouped = self.grouped
        kept = [
            index
            for index in range(low, high)
            if state.add(
                self.ids[index],
                mixed=int(grouped.mixed[index]),
                log_time=int(grouped.log_time[index]),
                ended=bool(grouped.ended[index]),
                bound=int(grouped.bound[index]),
                limits=limits,
            )
        ]
        return grouped.row[kept]
