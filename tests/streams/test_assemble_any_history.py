"""Whatever becomes of the workers of a log, its episodes are a function of the log."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.schemas import Reward, Span, Start, partition_of
from headrace.streams.stage import LogRecord
from tests.streams.assembling import (
    AGE,
    GRACE,
    IDLE,
    PARTITIONS,
    Producer,
    World,
    make_stage,
    plain,
    record,
    run,
)
from tests.streams.histories import live_through


@dataclass
class Oracle:
    """The contract in plain words, for one episode: a set, and time from the log."""

    ids: set[str] = field(default_factory=set)
    first: int = 0
    last: int = 0
    bound: int = 1 << 60
    closed_by: str = ""

    def close_by(self) -> int:
        return min(self.last + IDLE, self.first + AGE, self.bound + GRACE)

    def pass_time(self, now: int) -> None:
        if self.ids and not self.closed_by and now > self.close_by():
            idle = self.last + IDLE <= self.close_by()
            self.closed_by = "idle" if idle else "deadline"

    def add(self, item: Span, at: int) -> None:
        if item.span_id in self.ids:
            return
        self.pass_time(at)
        self.first = self.first if self.ids else at
        self.ids.add(item.span_id)
        self.last = at
        if item.start is not None and item.start.deadline:
            self.bound = min(self.bound, item.start.deadline)
        if item.kind == "attempt.end":
            self.closed_by = "end"


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[tuple[LogRecord, list[Span]]], random.Random]:
    """A log of several episodes, producers and partitions, with re-sends and pauses."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    items: list[tuple[str, bytes, list[Span]]] = []
    for number in range(chance.randint(1, 4)):
        rollout = f"r{number}"
        deadline = chance.choice([0, 0, chance.randint(1, 600)])
        spans = [
            plain(
                i,
                chance.choice(["span", "tool", "event"]),
                rollout,
            )
            for i in range(2, chance.randint(2, 12))
        ]
        if chance.random() < 0.8:
            spans.append(
                plain(1, "attempt.start", rollout, start=Start(group_id="g", deadline=deadline))
            )
        if chance.random() < 0.7:
            spans.append(plain(99, "attempt.end", rollout))
        if chance.random() < 0.5:
            spans.append(
                plain(98, "reward", rollout, reward=Reward(name="x", value=chance.random()))
            )
        producers = [Producer(f"{rollout}-{i}") for i in range(2)]
        chance.shuffle(spans)
        while spans:
            some = [spans.pop() for _ in range(min(len(spans), chance.randint(1, 4)))]
            items.append((rollout, chance.choice(producers).seal(*some), some))
        again = [item for r, _, item in items if r == rollout]
        for some in chance.choices(again, k=chance.randint(0, 3) if again else 0):
            items.append((rollout, chance.choice(producers).seal(*some), some))
    chance.shuffle(items)
    items += chance.choices(items, k=chance.randint(0, 4)) if items else []
    log, offsets, now = [], [0] * PARTITIONS, 0
    for rollout, value, spans in items:
        now += chance.choice([0, 1, 10, 40, IDLE + 1])
        partition = partition_of(rollout, PARTITIONS)
        log.append((record(value, offsets[partition], now, rollout), spans))
        offsets[partition] += 1
    for partition in range(PARTITIONS):
        late = record(None, offsets[partition], now + 10 * AGE, partition=partition, tick=True)
        log.append((late, []))
    return log, chance


def oracle_of(log: Sequence[tuple[LogRecord, list[Span]]]) -> dict[str, Oracle]:
    found: dict[str, Oracle] = defaultdict(Oracle)
    for item, spans in log:
        for part in spans:
            found[part.rollout_id].add(part, item.log_time)
        for rollout, oracle in found.items():
            if partition_of(rollout, PARTITIONS) == item.partition:
                oracle.pass_time(item.log_time)
    return found


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"signals": sorted(row["signals"])}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from([1, 8_000, 1 << 30]), st.integers(0, 3), st.integers(0, 3))
def test_any_history_ends_in_the_same_episodes(
    given_log: tuple[list[tuple[LogRecord, list[Span]]], random.Random],
    memory_bytes: int,
    deaths: int,
    moves: int,
) -> None:
    log, chance = given_log
    records = [item for item, _ in log]
    world = live_through(records, chance, memory_bytes=memory_bytes, deaths=deaths, moves=moves)

    expected = oracle_of(log)
    rows = {row["rollout_id"]: row for row in world.episodes.values()}
    assert set(rows) == set(expected)
    for rollout, oracle in expected.items():
        row = rows[rollout]
        assert (row["state"], row["n_spans"], row["closed_by"]) == (
            "closed",
            len(oracle.ids),
            oracle.closed_by,
        )
        assert (row["log_first"], row["log_last"]) == (oracle.first, oracle.last)
        assert (row["complete"], row["missing_batches"]) == (True, 0)

    contents: dict[tuple[str, int], set[str]] = defaultdict(set)
    for episode in world.published():
        contents[episode.rollout_id, episode.version].add(repr(episode))
    assert all(len(found) == 1 for found in contents.values()), "one content for each version"
    for rollout, row in rows.items():
        assert row["version"] == max(v for r, v in contents if r == rollout), "row and topic agree"

    calm = World()
    run(make_stage(calm), records, assigned=True)
    assert {k: comparable(r) for k, r in calm.episodes.items()} == {
        k: comparable(r) for k, r in world.episodes.items()
    }, "a full rebuild gives equal rows"
    assert (calm.spans, calm.repeated) == (world.spans, world.repeated)
