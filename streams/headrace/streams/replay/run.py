"""A replay: the cores of the credit stage over the log, with nothing sent and nothing committed.

It is the credit stage under another name: what is not held is looked up under that name, so memory
is bounded, a replay that was killed is simply run again, and a second one changes nothing.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    Decoder,
    KafkaConfig,
    LogRecord,
    Patience,
    read_stretch,
)
from headrace.schemas import Codec
from headrace.schemas.topics import StageGroup
from headrace.streams.credit.arrivals import TOPIC, arrivals_of
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.core import Arrival, Groups
from headrace.streams.credit.store import GroupStore
from headrace.streams.replay.errors import ChangedRule, NothingToReplay
from headrace.streams.replay.extent import Extent, extent_of
from headrace.streams.replay.names import TABLE, Names
from headrace.streams.reward import Rule

NAME = "replay"
BYTES_A_TAKE = 16_000_000
"""Of records, decoded about five times as much: takes are large, for a look-up and an insert each
cost as much for few groups as for many."""

Progress = Callable[["Replayed", int], None]
"""How far it is, and how many records there are."""


@dataclass(kw_only=True, slots=True)
class Replayed:
    """What a replay did. `counts`: episodes by what became of their reward, groups by outcome."""

    records: int = 0
    episodes: int = 0
    groups: int = 0
    unreadable: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Episodes a second."""
        return self.episodes / self.seconds if self.seconds else 0.0


def replay(
    kafka: KafkaConfig,
    clickhouse: ClickHouse,
    codec: Codec,
    *,
    rule: Rule,
    settings: CreditSettings,
    since: int = 0,
    until: int = 0,
    credit_group: str = StageGroup.CREDIT,
    progress: Progress = lambda done, total: None,
) -> Replayed:
    """Compute rewards and credit of past episodes into rows of `replays`, under the names of the
    rule and of the method.

    Raises:
        ChangedRule: results under the rule's id are of other code.
        NothingToReplay: there is no record in that time.
        KafkaUnavailable, RegistryUnavailable, ClickHouseUnavailable: run it again, it goes on.
    """
    names = Names(rule=rule.id, credit=settings.method.id)
    store = GroupStore(clickhouse, rule=names.rule, credit=names.credit, table=TABLE)
    if others := store.other_code(rule):
        raise ChangedRule(
            f"rule {rule.id} is not what it was: its code is {rule.digest}, and results under its "
            f"id are of {', '.join(others)}; give it a new version, or none: then it has that of "
            "its code"
        )
    store.note_code(rule)
    # A running mean has all rewards before it: half a log would make another mean.
    since = 0 if settings.running_mean else since
    extent = extent_of(
        kafka, clickhouse, codec, since=since, until=until, credit_group=credit_group
    )
    if not extent.stretch.records:
        raise NothingToReplay(f"{TOPIC} holds no episode of that time: see `headrace status`")
    groups = Groups(rule, settings.method, settings.patience, settings.max_held)
    one = _Replay(groups, store, codec, extent)
    began = time.monotonic()
    with _rare_collections():
        for records in _takes(kafka, extent):
            one.take(records)
            one.done.seconds = time.monotonic() - began
            progress(one.done, extent.stretch.records)
    one.done.counts = Counter(groups.counters)
    return one.done


class _Replay:
    """Drives the core through the log."""

    def __init__(self, groups: Groups, store: GroupStore, codec: Codec, extent: Extent) -> None:
        self.done = Replayed()
        self._groups = groups
        self._store = store
        self._codec = codec
        self._extent = extent
        # What the live stage could not read either has its dead letter.
        self._decoder = Decoder(self._arrivals, stage=NAME, unknown_schema_s=0)
        self._patience = Patience(NAME)

    def take(self, records: Sequence[LogRecord]) -> None:
        """Fold some records, and write what follows from them."""
        for record in records:
            self._groups.advance(record.partition, record.log_time)
        decoded = self._decoder.decode([r for r in records if not r.tick], self._patience)
        arrivals = [arrival for _, some in decoded.taken for arrival in some]
        if needs := self._groups.needs(arrivals):
            for held in self._store.look_up(needs):
                self._groups.restore(held)
        self._groups.fold(arrivals)
        if changes := self._groups.settle():
            self._store.write(self._store.rows(changes))
            self._groups.told(changes)
            if self._groups.full:
                self._groups.evict()
        self.done.records += len(records)
        self.done.episodes += len(arrivals)
        self.done.groups += sum(change.credits is not None for change in changes)
        self.done.unreadable += len(decoded.refused)

    def _arrivals(self, record: LogRecord) -> list[Arrival]:
        every = arrivals_of(self._codec, record)
        return [arrival for arrival in every if self._extent.covers(record, arrival.key)]


def _takes(kafka: KafkaConfig, extent: Extent) -> Iterator[list[LogRecord]]:
    """The records by the take."""
    take: list[LogRecord] = []
    size = 0
    for records in read_stretch(kafka, TOPIC, extent.stretch, name="headrace.replay"):
        take += records
        size += sum(len(record.value or b"") for record in records)
        if size >= BYTES_A_TAKE:
            yield take
            take, size = [], 0
    if take:
        yield take


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Episodes are trees, freed as they are let go: searching them for cycles with every 700 new
    objects takes half of the time."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
