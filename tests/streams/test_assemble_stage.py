"""The whole assembler against a simulated log and store: what it says is a function of the log."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import DeadLetter, Outgoing
from headrace.schemas import (
    SCHEMA_FILES,
    Call,
    Codec,
    Episode,
    EpisodeBatch,
    Reward,
    Sample,
    Span,
    Start,
    UnknownSchemaId,
    build_span_batch,
    from_avro,
    partition_of,
    response_id,
    schema_text,
)
from headrace.streams.assemble.columns import SPANS_SCHEMA
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.stage import AssembleStage
from headrace.streams.host import LogRecord

PARTITIONS = 2
IDLE, AGE, GRACE = 100, 5_000, 50
TOPIC = "headrace.spans"


class CrashedError(Exception):
    """The process dies here."""


class FakeRegistry:
    """Schema ids by position."""

    def schema_id(self, topic: str) -> int:
        return list(SCHEMA_FILES).index(topic) + 1

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        try:
            topic = list(SCHEMA_FILES)[schema_id - 1]
        except IndexError:
            raise UnknownSchemaId(f"no schema {schema_id}") from None
        parsed: dict[str, Any] = json.loads(schema_text(topic))
        return parsed


CODEC = Codec(FakeRegistry())


@dataclass
class World:
    """Store and topics that outlive a worker; `fuse` counts down to its death."""

    spans: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    episodes: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    sent: list[Outgoing] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    fuse: int = -1
    torn: bool = False

    def burn(self) -> bool:
        """One operation; returns whether it is the last, done though nobody hears of it."""
        self.fuse -= 1
        if self.fuse == 0 and not self.torn:
            raise CrashedError
        return self.fuse == 0

    def insert_arrow(self, table: str, data: pa.RecordBatch) -> int:
        last = self.burn()
        target, version = (self.spans, "ver") if table == "spans" else (self.episodes, "version")
        for row in data.to_pylist():
            names = ("project", "rollout_id", "attempt", "span_id")[: 4 if table == "spans" else 3]
            key = tuple(row[name] for name in names)
            if key not in target or row[version] >= target[key][version]:
                target[key] = row
        if last:
            raise CrashedError
        return int(data.num_rows)

    def query_arrow(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        assert parameters is not None
        if "partitions" in parameters:
            rows = [
                {name: row[name] for name in ("project", "rollout_id", "attempt")}
                | {"home": row["partition"], "close_by": row["close_by"]}
                for row in self.episodes.values()
                if row["state"] == "open" and row["partition"] in parameters["partitions"]
            ]
            return pa.Table.from_pylist(rows)
        keys = set(parameters["keys"])
        if "FROM episodes" in sql:
            found = [key for key in self.episodes if key in keys]
            return pa.table(
                [pa.array([k[i] for k in found], pa.string()) for i in range(3)],
                names=["project", "rollout_id", "attempt"],
            )
        rows = [row for key, row in self.spans.items() if key[:3] in keys]
        rows.sort(key=lambda row: row["offset"])
        plain = [
            pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
            for f in SPANS_SCHEMA
        ]
        return pa.Table.from_pylist(rows, pa.schema(plain))

    def send(self, records: Sequence[Any]) -> None:
        last = self.burn()
        for record in records:
            (self.letters if isinstance(record, DeadLetter) else self.sent).append(record)
        if last:
            raise CrashedError

    def published(self) -> list[Episode]:
        return [
            episode
            for record in self.sent
            if record.topic == "headrace.episodes"
            for episode in from_avro(
                EpisodeBatch, CODEC.decode(record.topic, record.value)
            ).episodes
        ]

    def samples(self) -> dict[str, Sample]:
        found = [
            from_avro(Sample, CODEC.decode(record.topic, record.value))
            for record in self.sent
            if record.topic == "headrace.samples"
        ]
        return {sample.sample_id: sample for sample in found}


def make_stage(world: World, **changes: Any) -> AssembleStage:
    config = AssembleConfig(
        **{
            "idle_ms": IDLE,
            "max_age_ms": AGE,
            "deadline_grace_ms": GRACE,
            "unknown_schema_seconds": 0.01,
            **changes,
        }
    )
    return AssembleStage(
        config,
        codec=CODEC,
        tables=world,
        log=world,
        dead_letters=world,
        span_partitions=PARTITIONS,
        episode_partitions=PARTITIONS,
    )


def run(stage: AssembleStage, *takes: Sequence[LogRecord], assigned: bool = False) -> None:
    async def go() -> None:
        if assigned:
            await stage.assigned(range(PARTITIONS))
        for take in takes:
            await stage.take(take)

    asyncio.run(go())


def span_id(number: int) -> str:
    return f"{number:016x}"


class Producer:
    """Seals spans into records of a log, with gapless numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.numbers: dict[tuple[str, str, str], int] = defaultdict(lambda: -1)

    def seal(self, *spans: Span) -> bytes:
        for key in {(s.project, s.rollout_id, s.attempt) for s in spans}:
            self.numbers[key] += 1
        batch = build_span_batch(
            spans, producer=self.name, sequence=self.sequence, episode_batches=self.numbers
        )
        self.sequence += 1
        return CODEC.encode(TOPIC, batch)


def record(value: bytes | None, offset: int, at: int, rollout: str = "r", **rest: Any) -> LogRecord:
    partition = rest.pop("partition", partition_of(rollout, PARTITIONS))
    return LogRecord(
        topic=TOPIC, partition=partition, offset=offset, log_time=at, value=value, **rest
    )


def plain(number: int, kind: str = "span", rollout: str = "r", **rest: Any) -> Span:
    return Span(
        rollout_id=rollout,
        attempt="a",
        span_id=span_id(number),
        kind=kind,
        name=kind,
        started_at=number,
        **rest,
    )


def start(number: int = 1, **facts: Any) -> Span:
    return plain(number, "attempt.start", input="What is 1 + 1?", start=Start(**facts))


def end(number: int = 99, status: str = "ok") -> Span:
    return plain(number, "attempt.end", status=status, output="2")


def reward(number: int, value: float = 1.0, target: str = "") -> Span:
    return plain(number, "reward", reward=Reward(name="right", value=value, target=target))


def call(number: int, tokens: int = 3, **facts: Any) -> Span:
    output = facts.pop("output", "two")
    settings: dict[str, Any] = {
        "model": "m",
        "policy": "p",
        "response_id": response_id(span_id(number)),
        "prompt_ids": np.arange(4),
        "sampled_ids": np.arange(tokens),
        "logprobs": np.full(tokens, -0.5),
        "runs": ((7, tokens),) if tokens else (),
        "trainable": True,
        "finish_reason": "stop",
    }
    return plain(number, "call", output=output, call=Call(**(settings | facts)))


def one_episode(*spans: Span, config: dict[str, Any] | None = None) -> tuple[World, Episode]:
    """Publish one episode made of a single record, and return it."""
    world = World()
    run(make_stage(world, **(config or {})), [record(Producer("p").seal(*spans), 0, 10)])
    (episode,) = world.published()
    return world, episode


# What an episode says


def test_an_episode_carries_its_facts_calls_tools_and_rewards() -> None:
    world, episode = one_episode(
        start(1, group_id="g", group_size=8, policy="calc", split="eval", expected="2"),
        call(3),
        call(2),
        plain(4, "tool", status="error", input="1 + 1", output="2"),
        reward(5, 0.5, target=response_id(span_id(2))),
        plain(6, "exception"),
        end(),
    )
    assert (episode.group_id, episode.group_size, episode.policy) == ("g", 8, "calc")
    assert (episode.split, episode.expected, episode.result) == ("eval", "2", "2")
    assert (episode.n_spans, episode.version, episode.closed_by) == (7, 15, "end")
    assert (episode.status, episode.complete, episode.task_input) == ("ok", True, "What is 1 + 1?")
    assert [c.span_id for c in episode.calls] == [span_id(2), span_id(3)], "in order of start"
    assert (episode.calls[0].version_min, episode.calls[0].completion_tokens) == (7, 3)
    assert [(t.input, t.output, t.status) for t in episode.tools] == [("1 + 1", "2", "error")]
    assert [(r.name, r.value) for r in episode.rewards] == [("right", 0.5)]
    assert episode.signals == {"tool_errors": 1, "exceptions": 1}
    (row,) = world.episodes.values()
    assert (row["state"], row["calls"], row["prompt_tokens"]) == ("closed", 2, 8)
    assert (row["version_min"], row["version_max"], row["completion_tokens"]) == (7, 7, 6)
    assert row["digest"] == episode.digest


def test_samples_hold_the_models_own_tokens() -> None:
    world, _ = one_episode(start(group_id="g"), call(2, logprobs=np.array([-1, -2, -3])), end())
    (sample,) = world.samples().values()
    assert sample.sample_id == f"r/a/{span_id(2)}/0"
    assert np.frombuffer(sample.sampled_ids, "<u4").tolist() == [0, 1, 2]
    assert np.frombuffer(sample.prompt_ids, "<u4").tolist() == [0, 1, 2, 3]
    assert np.frombuffer(sample.logprobs, "<f4").tolist() == [-1, -2, -3]
    assert (sample.run_versions, sample.run_lengths, sample.group_id) == ([7], [3], "g")


def test_an_attempt_without_a_start_is_a_group_of_one() -> None:
    _, episode = one_episode(call(2), end())
    assert (episode.group_id, episode.group_size, episode.policy) == ("r", 1, "p")
    assert episode.signals == {"no_start": 1}


def test_a_reward_that_is_not_a_number_is_kept_and_counted() -> None:
    _, episode = one_episode(start(), reward(2, float("nan")), reward(3, float("inf")), end())
    assert episode.signals == {"invalid_rewards": 2}
    assert np.isnan(episode.rewards[0].value)


def test_a_reward_for_a_call_that_is_not_there_is_counted() -> None:
    _, episode = one_episode(start(), reward(2, target="chatcmpl-nobody"), end())
    assert episode.signals == {"unmatched_rewards": 1}


def test_an_empty_completion_is_counted_and_never_trained() -> None:
    world, episode = one_episode(start(), call(2, tokens=0, output=""), end())
    assert episode.signals == {"empty_completions": 1}
    assert episode.calls[0].untrainable_reason == "no_tokens"
    assert world.samples() == {}


def test_a_call_cut_at_its_token_limit_is_counted() -> None:
    _, episode = one_episode(start(), call(2, finish_reason="length"), end())
    assert episode.signals == {"truncations": 1}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"trainable": False, "untrainable_reason": "off_support"}, "off_support"),
        ({"logprobs": np.array([-1, np.nan, -1])}, "invalid_logprobs"),
        ({"runs": ((7, 2),)}, "invalid_versions"),
        ({"prompt_base": "r/a/ffffffffffffffff", "prompt_base_length": 4}, "missing_base"),
    ],
)
def test_a_call_that_cannot_be_trained_says_why(facts: dict[str, Any], reason: str) -> None:
    world, episode = one_episode(start(), call(2, **facts), end())
    assert (episode.calls[0].trainable, episode.calls[0].untrainable_reason) == (False, reason)
    assert world.samples() == {}


def test_a_prompt_may_extend_a_call_that_is_a_sample_itself() -> None:
    base: dict[str, Any] = {"prompt_base": f"r/a/{span_id(2)}", "prompt_base_length": 4}
    world, episode = one_episode(start(), call(2), call(3, **base), end())
    assert [c.trainable for c in episode.calls] == [True, True]
    assert episode.calls[1].prompt_tokens == 8
    assert len(world.samples()) == 2


def test_texts_that_no_record_could_hold_are_left_in_the_table() -> None:
    world, episode = one_episode(
        start(), call(2, output="x" * 5_000), end(), config={"message_bytes": 4_000}
    )
    assert episode.calls[0].output == ""
    assert episode.signals == {"texts_dropped": 1}
    assert any(row["output"] == "x" * 5_000 for row in world.spans.values())


# When it closes


def test_without_an_end_it_closes_when_the_log_is_idle_too_long() -> None:
    world, stage = World(), None
    stage = make_stage(world)
    run(stage, [record(Producer("p").seal(start()), 0, 1_000)])
    assert stage.next_deadline(partition_of("r", PARTITIONS)) == 1_000 + IDLE
    run(stage, [record(None, 1, 1_000 + IDLE, tick=True)])
    assert world.published() == [], "the limit is reached, not passed"
    run(stage, [record(None, 2, 1_001 + IDLE, tick=True)])
    assert [e.closed_by for e in world.published()] == ["idle"]
    assert stage.next_deadline(partition_of("r", PARTITIONS)) is None


def test_the_tasks_deadline_closes_it_after_a_grace() -> None:
    world = World()
    stage = make_stage(world, idle_ms=10_000)
    run(stage, [record(Producer("p").seal(start(deadline=1_200)), 0, 1_000)])
    run(stage, [record(None, 1, 1_200 + GRACE, tick=True)])
    assert world.published() == []
    run(stage, [record(None, 2, 1_201 + GRACE, tick=True)])
    assert [e.closed_by for e in world.published()] == ["deadline"]


def test_an_agents_clock_closes_nothing() -> None:
    world = World()
    ahead = plain(2, ended_at=10**18)
    run(make_stage(world), [record(Producer("p").seal(start(), ahead), 0, 1_000)])
    assert world.published() == []


def test_a_stub_is_rebuilt_before_its_deadline_closes_it() -> None:
    world, producer = World(), Producer("p")
    run(make_stage(world), [record(producer.seal(start()), 0, 1_000)])
    stage = make_stage(world)
    # The open row knows of the first record only; a second moved the deadline.
    world.insert_arrow("spans", _rows_of(record(producer.seal(plain(2)), 1, 1_050)))
    run(stage, [record(None, 2, 1_120, tick=True)], assigned=True)
    assert world.published() == [], "its real deadline is 1,150"
    run(stage, [record(None, 3, 1_151, tick=True)])
    assert [(e.closed_by, e.n_spans) for e in world.published()] == [("idle", 2)]


def _rows_of(item: LogRecord) -> pa.RecordBatch:
    """The rows that another worker inserted for a record before it died."""
    side = World()
    run(make_stage(side), [item])
    plain_schema = [
        pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type)
        for f in SPANS_SCHEMA
    ]
    return pa.RecordBatch.from_pylist(list(side.spans.values()), pa.schema(plain_schema))


# What is missing


def test_a_hole_in_a_producers_batches_makes_it_incomplete() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(plain(2)), producer.seal(end())]
    run(make_stage(world), [record(values[0], 0, 1), record(values[2], 1, 2)])
    (episode,) = world.published()
    assert (episode.complete, episode.missing_batches) == (False, 1)


def test_a_late_batch_fills_the_hole() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(plain(2)), producer.seal(end())]
    stage = make_stage(world)
    run(stage, [record(values[0], 0, 1), record(values[2], 1, 2)], [record(values[1], 2, 3)])
    assert [(e.complete, e.version) for e in world.published()] == [(False, 5), (True, 7)]


def test_producers_are_counted_apart() -> None:
    world, runner, gateway = World(), Producer("runner"), Producer("gateway")
    values = [
        runner.seal(start()),
        gateway.seal(call(2)),
        gateway.seal(call(3)),
        runner.seal(end()),
    ]
    run(make_stage(world), [record(value, i, i) for i, value in enumerate(values)])
    assert world.published()[-1].complete


# Bad input


def test_what_cannot_be_read_is_set_aside_untouched_and_the_worker_goes_on() -> None:
    world = World()
    good = Producer("p").seal(start(), end())
    bad = [b"", b"\x01garbage", good[:-3], b"\x00\x00\x00\x03\xe7" + good[5:]]
    stage = make_stage(world)
    run(stage, [*(record(v, i, i) for i, v in enumerate(bad)), record(good, 9, 9)])
    assert [letter.value for letter in world.letters] == bad
    assert [letter.reason for letter in world.letters] == [*["malformed"] * 3, "unknown_schema"]
    assert [letter.offset for letter in world.letters] == [0, 1, 2, 3]
    assert len(world.published()) == 1
    assert stage.counters["dead_letters"] == 4


def test_a_misplaced_record_is_sent_on_and_counts_where_it_belongs() -> None:
    world = World()
    home = partition_of("r", PARTITIONS)
    stage = make_stage(world)
    run(stage, [record(Producer("p").seal(start(), end()), 0, 1, partition=1 - home)])
    (forward,) = world.sent
    assert (forward.topic, forward.partition) == (TOPIC, home)
    assert (world.spans, stage.counters["forwarded"]) == ({}, 1)
    run(stage, [record(forward.value, 0, 2, partition=home, forwarded=True)])
    (episode,) = world.published()
    assert episode.n_spans == 2


def test_a_record_with_episodes_of_two_partitions_is_split_without_end() -> None:
    world = World()
    home = partition_of("r", PARTITIONS)
    other = next(f"s{i}" for i in range(99) if partition_of(f"s{i}", PARTITIONS) != home)
    value = Producer("p").seal(start(), end(), plain(5, "attempt.end", rollout=other))
    stage = make_stage(world)
    run(stage, [record(value, 0, 1)])
    (forward,) = [r for r in world.sent if r.topic == TOPIC]
    assert forward.partition is not None
    run(stage, [record(forward.value, 0, 2, partition=forward.partition, forwarded=True)])
    assert sorted((e.rollout_id, e.n_spans) for e in world.published()) == [("r", 2), (other, 1)]
    assert len([r for r in world.sent if r.topic == TOPIC]) == 1


# The literal traps of the contract


def test_r1_a_rebuilt_episode_is_published_though_the_fold_adds_nothing() -> None:
    world, producer = World(), Producer("p")
    first, last = record(producer.seal(start()), 0, 1), record(producer.seal(end()), 1, 2)
    run(make_stage(world), [first])
    world.fuse, world.torn = 1, True  # dies right after the take's spans are in the table
    with pytest.raises(CrashedError):
        run(make_stage(world), [last], assigned=True)
    world.fuse = -1
    run(make_stage(world), [last], assigned=True)
    assert [e.n_spans for e in world.published()] == [2]


def test_r2_a_resent_opening_batch_does_not_restart_a_forgotten_episode() -> None:
    world, producer = World(), Producer("p")
    opening = producer.seal(start())
    rest = [record(producer.seal(plain(i)), i, i) for i in range(2, 6)]
    run(make_stage(world), [record(opening, 1, 1), *rest, record(producer.seal(end()), 7, 7)])
    stage = make_stage(world)  # which has never seen the episode
    run(stage, [record(opening, 8, 8)], [record(producer.seal(reward(50)), 9, 9)])
    assert world.published()[-1].version == 15, "the late reward makes seven spans, closed"
    (row,) = world.episodes.values()
    assert (row["version"], row["rewards"]) == (15, 1)


def test_the_batch_that_opens_an_episode_need_not_be_the_first_in_the_log() -> None:
    world, runner, gateway = World(), Producer("runner"), Producer("gateway")
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(gateway.seal(call(2)), 0, 1)])
    run(stage, [record(runner.seal(start()), 1, 2)])
    run(stage, [record(runner.seal(end()), 2, 3)])
    assert [(e.n_spans, e.complete) for e in world.published()] == [(3, True)]


def test_r3_a_resent_batch_changes_no_bounds_after_a_rebuild() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(end())]
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(values[0], 0, 10), record(values[1], 1, 20)])
    run(stage, [record(values[0], 2, 70), record(values[1], 3, 80)])
    assert {(e.version, e.log_first, e.log_last) for e in world.published()} == {(5, 10, 20)}


def test_a_late_reward_after_eviction_makes_a_whole_revision() -> None:
    world, producer = World(), Producer("p")
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(producer.seal(start(), call(2), end()), 0, 10)])
    run(stage, [record(producer.seal(reward(60)), 1, 10_000_000)])
    assert [(e.version, len(e.rewards), len(e.calls)) for e in world.published()] == [
        (7, 0, 1),
        (9, 1, 1),
    ]


# Any interleaving, duplication, cut, eviction and death


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


def takes_of(records: Sequence[LogRecord], chance: random.Random) -> Iterator[list[LogRecord]]:
    rest = list(records)
    while rest:
        size = chance.randint(1, 5)
        yield rest[:size]
        rest = rest[size:]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"signals": sorted(row["signals"])}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from([1, 8_000, 1 << 30]), st.integers(0, 3))
def test_any_history_ends_in_the_same_episodes(
    given_log: tuple[list[tuple[LogRecord, list[Span]]], random.Random],
    memory_bytes: int,
    deaths: int,
) -> None:
    log, chance = given_log
    records = [item for item, _ in log]
    world = World()
    stage = make_stage(world, memory_bytes=memory_bytes)
    run(stage, assigned=True)
    done = 0
    fuses = sorted(chance.randint(1, 12) for _ in range(deaths))
    while done < len(records):
        if world.fuse <= 0 and fuses:
            world.fuse, world.torn = fuses.pop(), chance.random() < 0.5
        take = next(takes_of(records[done:], chance))
        try:
            run(stage, take)
        except CrashedError:
            # Nothing of the take was acknowledged, and the last acknowledgements may be lost.
            done = max(0, done - chance.randint(0, 3))
            world.fuse = -1
            stage = make_stage(world, memory_bytes=memory_bytes)
            run(stage, assigned=True)
        else:
            done += len(take)
    world.fuse = -1

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
    assert calm.spans == world.spans
