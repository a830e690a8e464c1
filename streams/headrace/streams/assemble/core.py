"""The assembler's sets: which spans an episode has, and whether it is closed. Pure.

Every operation is a function of the log alone: a duplicate changes nothing, the first occurrence
wins, time is the log's. So whatever is forgotten can be rebuilt, and two workers that saw the
same prefix of a partition say the same of each episode (docs/design.md has the rules).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from headrace.schemas.spans import Array
from headrace.streams.assemble.additions import Additions
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.episode import EpisodeState, Limits
from headrace.streams.assemble.folded import Folded, Needs, Snapshot
from headrace.streams.assemble.keys import in_order
from headrace.streams.assemble.repeats import (
    BatchNumber,
    RepeatedBatch,
    by_key,
    filled,
    highest_of,
    numbers_of,
)
from headrace.streams.assemble.spans import Part, Spans, chosen_rows, picked
from headrace.streams.deadlines import Deadlines, earliest

_SPAN_BYTES = 120  # of a span id in a set and its row numbers, beside the columns
_REPEAT_BYTES = 200  # of a batch number in a set
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(slots=True)
class _Held:
    """A take's spans in memory, the episodes that have some of them, and what it costs."""

    spans: Spans
    keys: list[str]
    size: int


class Assembler:
    """Episodes of the partitions of one worker. Memory is a cache: any episode may be evicted.

    A take goes: `advance`, `needs` (look these up and `restore` them), `fold`, `settle`, which
    says what to publish. Before takes are stored `settle_open` says what else has a row; `evict`
    where it is `full` and all of it is durable.
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
        self._opened: dict[str, EpisodeState] = {}
        self._restored: frozenset[str] = frozenset()
        self._repeats: list[RepeatedBatch] = []
        self._clocks: dict[int, int] = {}
        self._positions: dict[int, int] = {}
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
    def open_episodes(self) -> int:
        """Episodes that wait for their end, those that are stubs included."""
        return len(self._open_deadlines) + len(self._stub_deadlines)

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

    def advance(self, partition: int, log_time: int, offset: int) -> None:
        """The partition's log has reached this time and offset."""
        self._positions[partition] = offset
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

    def restore(
        self, spans: pa.RecordBatch, keys: Iterable[str], repeats: pa.RecordBatch | None = None
    ) -> None:
        """Take back episodes `keys` with all of their spans as the store has them.

        `repeats`: the batches of these that it knows as repeated, rows of REPEATED_SCHEMA.

        The take's own spans are among these, so `fold` skips them. A restored episode is settled
        whether it changed or not: its spans were in the table before anybody told of them (rule:
        dirty rebuilds are emitted).
        """
        self._restored = frozenset(keys)
        for key in self._restored:
            if (partition := self._stubs.pop(key, None)) is not None:
                self._stub_deadlines.disarm(partition, key)
        touched, _ = self._absorb(Spans(rows=self._reached(spans)), skip=frozenset())
        self._touched |= touched
        known = {} if repeats is None else by_key(self._reached(repeats))
        for key, numbers in known.items():
            if key in self._episodes:
                self._episodes[key].repeats.update(numbers)

    def fold(self, spans: Spans) -> None:
        """Add a take's spans, in log order; a span that is there already changes nothing."""
        touched, doubtful = self._absorb(spans, skip=self._restored)
        self._repeats = self._repeated(spans, doubtful)
        self._touched |= touched
        for repeat in self._repeats:
            self._touched[repeat.key] = self._episodes[repeat.key]

    def settle(self) -> Folded:
        """What the take changed or its time has closed, of closed episodes: to be published."""
        for state in self._touched.values():
            if state.repeats:
                parts = [(spans.rows, rows) for spans, rows in self._parts(state)]
                state.filled = filled(state.repeats, self._numbers(state), highest_of(parts))
        touched = self._touched | self._expire()
        changed = {
            key: state
            for key, state in touched.items()
            if key in self._restored or state.unpublished()
        }
        repeats = self._repeats
        self._touched, self._restored, self._repeats = {}, frozenset(), []
        for state in changed.values():
            state.published()
        self._opened |= changed
        self._refresh()
        return self._gather([state for state in changed.values() if state.closed], repeats)

    def settle_open(self) -> Folded:
        """The open episodes that have no row yet, or were rebuilt, as they are now.

        Their rows are stored with those of all takes so far, or later ones.
        """
        opened, self._opened = self._opened, {}
        return self._gather([state for state in opened.values() if not state.closed], [])

    @property
    def full(self) -> bool:
        """Whether memory is out of bounds: store all that is owed, then `evict`."""
        return self._held_bytes > self.config.memory_bytes

    def evict(self) -> list[str]:
        """Forget the oldest takes until an eighth of the memory is free; says which episodes.

        Call it between takes, when all of them are stored with their rows: what is forgotten is
        read back (rule: eviction follows the store). An open episode is not forgotten whole (rule:
        eviction leaves a stub).
        """
        forgotten = []
        while self._held_bytes > self.config.memory_bytes * 7 // 8:
            number = next(iter(self._held))
            held = self._held.pop(number)
            self._held_bytes -= held.size
            for key in held.keys:
                state = self._episodes.get(key)
                # The episode may be gone, or gone and rebuilt into a later take.
                if state is not None and number in state.rows:
                    self._forget(state)
                    forgotten.append(key)
        self._refresh()
        return forgotten

    def _forget(self, state: EpisodeState) -> None:
        del self._episodes[state.key]
        self._opened.pop(state.key, None)
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

    def _reached(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of the store without what another worker stored ahead of where this one reads.

        They come by the log: so an episode is always what a prefix of its partition makes it
        (rule: a rebuild ends where the reader is).
        Old rows of a log that began again at 0 stay, by their time.
        """
        if not rows.num_rows or not self._positions:
            return rows
        home, offset = rows.column("partition").to_numpy(), rows.column("offset").to_numpy()
        log_time = rows.column("log_time").to_numpy()
        ahead = np.zeros(rows.num_rows, bool)
        for partition, position in self._positions.items():
            here = (home == partition) & (offset > position)
            ahead |= here & (log_time >= self._clocks[partition])
        return rows.filter(pa.array(~ahead)) if ahead.any() else rows

    def _absorb(
        self, spans: Spans, skip: frozenset[str]
    ) -> tuple[dict[str, EpisodeState], dict[str, Array]]:
        """The episodes that got spans, and of those that did not take all: the take's numbers."""
        if not spans.n:
            return {}, {}
        self._takes += 1
        touched: dict[str, EpisodeState] = {}
        doubtful: dict[str, Array] = {}
        added = Additions(spans.grouped)
        for slot, key in enumerate(spans.grouped.keys):
            if key in skip:
                doubtful[key] = added.rows(slot)
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
            if len(rows) < len(added.rows(slot)):
                doubtful[key] = added.rows(slot)
            if state.closed:
                self._open_deadlines.disarm(state.partition, key)
            elif before is None or state.close_by(self._limits) < before:
                self._watch(state)
        if touched:
            self._hold(spans, list(touched), spans.size + _SPAN_BYTES * spans.n)
        return touched, doubtful

    def _hold(self, spans: Spans, keys: list[str], size: int) -> None:
        self._held[self._takes] = _Held(spans=spans, keys=keys, size=size)
        self._held_bytes += size

    def _repeated(self, spans: Spans, doubtful: Mapping[str, Array]) -> list[RepeatedBatch]:
        """Take note of the batches of which an episode has no span; those not known yet.

        (rule: a repetition is no hole)
        """
        found = []
        for key, rows in doubtful.items():
            state = self._episodes[key]
            seen = self._numbers(state) | state.repeats
            batch = spans.rows
            for number, row in numbers_of(batch, rows).items():
                if number not in seen:
                    state.repeats.add(number)
                    found.append(
                        RepeatedBatch(
                            key=key,
                            number=number,
                            partition=state.partition,
                            offset=batch.column("offset")[row].as_py(),
                            log_time=batch.column("log_time")[row].as_py(),
                        )
                    )
        if found:
            # What they cost goes when their episodes do.
            self._takes += 1
            keys = list(dict.fromkeys(repeat.key for repeat in found))
            for key in keys:
                self._episodes[key].rows[self._takes] = _NO_ROWS
            self._hold(Spans(), keys, _REPEAT_BYTES * len(found))
        return found

    def _parts(self, state: EpisodeState) -> list[Part]:
        return [(self._held[number].spans, rows) for number, rows in state.rows.items()]

    def _numbers(self, state: EpisodeState) -> set[BatchNumber]:
        """The batches that an episode's spans came in."""
        parts = self._parts(state)
        return {pair for spans, rows in parts for pair in numbers_of(spans.rows, rows)}

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

    def _gather(self, states: Sequence[EpisodeState], repeats: list[RepeatedBatch]) -> Folded:
        """The spans of some episodes in one table, from whichever takes hold them.

        An episode's spans stand in the order of offset, start and id, which no take or rebuild
        changes: of two takes the later holds the higher offsets.
        """
        if not states:
            return Folded(snapshots=[], rows=pa.table({}), slot=_NO_ROWS, repeats=repeats)
        parts: dict[int, list[tuple[int, Array]]] = {}
        for slot, state in enumerate(states):
            for number, rows in state.rows.items():
                parts.setdefault(number, []).append((slot, rows))
        takes = sorted(parts.items())
        owners = np.concatenate(
            [np.full(len(rows), slot) for _, chosen in takes for slot, rows in chosen]
        )
        tables, slots, begin = [], [], 0
        for batch, rows in chosen_rows(
            [
                (self._held[number].spans, np.concatenate([rows for _, rows in chosen]))
                for number, chosen in takes
            ]
        ):
            order = in_order(batch, rows)
            tables.append(picked(batch, rows[order]))
            slots.append(owners[begin : begin + len(rows)][order])
            begin += len(rows)
        return Folded(
            snapshots=[_snapshot(state, self._limits) for state in states],
            rows=pa.Table.from_batches(tables),
            slot=np.concatenate(slots),
            repeats=repeats,
        )


def _snapshot(state: EpisodeState, limits: Limits) -> Snapshot:
    return Snapshot(
        key=state.key,
        partition=state.partition,
        version=state.version,
        n_spans=len(state.ids),
        filled=state.filled,
        digest=state.digest,
        closed=state.closed,
        closed_by=state.closed_by,
        close_by=state.close_by(limits),
        log_first=state.log_first,
        log_last=state.log_last,
    )
