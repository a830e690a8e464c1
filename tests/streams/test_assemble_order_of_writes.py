"""What leaves the assembler, and when: the log is told at once, the tables follow."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from headrace.schemas import partition_of
from tests.streams.assembling import (
    IDLE,
    PARTITIONS,
    TOPIC,
    CrashedError,
    Producer,
    World,
    call,
    end,
    make_stage,
    plain,
    record,
    reward,
    run,
    start,
)

SAMPLES, EPISODES = "headrace.samples", "headrace.episodes"


@dataclass
class NotingWorld(World):
    """Notes what is written where, in which order."""

    order: list[str] = field(default_factory=list)

    def insert_arrow(self, table: str, data: pa.RecordBatch) -> int:
        self.order.append(table)
        return super().insert_arrow(table, data)

    def query_arrow(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        if parameters is not None and "keys" in parameters:
            self.order.append("asks")
        return super().query_arrow(sql, parameters)

    def send(self, records: Sequence[Any]) -> None:
        self.order += dict.fromkeys(record.topic for record in records)
        super().send(records)


def test_takes_tell_the_log_and_one_store_writes_what_they_owe() -> None:
    world, producer = NotingWorld(), Producer("p")
    first = record(producer.seal(start(), call(2), end()), 0, 1_000)
    second = record(producer.seal(call(3), reward(50)), 1, 1_001)

    async def go() -> None:
        stage = make_stage(world)
        await stage.take([first])
        await stage.take([second])
        assert world.order == [SAMPLES, EPISODES] * 2, "a new episode needs no query"
        assert stage.owed_bytes > 0
        await stage.store()
        assert stage.owed_bytes == 0

    asyncio.run(go())
    assert world.order[4:] == ["spans", "episodes"]
    assert len(world.spans) == 5


def test_an_episode_that_is_read_back_has_all_spans_stored_first_and_its_row_last() -> None:
    world, producer = NotingWorld(), Producer("p")
    known = record(producer.seal(start(), end()), 0, 1_000)
    beside = next(n for n in "abcdefgh" if partition_of(n, PARTITIONS) == known.partition)
    other = record(Producer("q").seal(plain(7, rollout=beside)), 1, 1_001, beside)
    late = record(producer.seal(reward(50)), 2, 1_002)

    async def go() -> None:
        old = make_stage(world)
        await old.take([known])
        await old.store()
        stage = make_stage(world)
        await stage.assigned([(TOPIC, known.partition)])
        await stage.take([other])
        world.order.clear()
        await stage.take([late])
        assert world.order == ["asks", "spans", "asks", "asks", EPISODES]
        assert len(world.spans) == 4, "with those of the take before it, in log order"
        await stage.store()
        assert world.order[5:] == ["episodes"]

    asyncio.run(go())


def test_what_is_forgotten_was_stored_with_its_row() -> None:
    world, producer = NotingWorld(), Producer("p")

    async def go() -> None:
        stage = make_stage(world, memory_bytes=1)
        await stage.take([record(producer.seal(start()), 0, 1_000)])
        assert world.order == ["spans", "episodes"]
        assert stage.counters["in_memory"] == 0

    asyncio.run(go())


@dataclass
class HeldWorld(World):
    """A broker that can be slow: a send waits, and the worker may die in it."""

    slow: bool = False
    sending: threading.Event = field(default_factory=threading.Event)
    dead: threading.Event = field(default_factory=threading.Event)

    def send(self, records: Sequence[Any]) -> None:
        if self.slow:
            self.sending.set()
            assert self.dead.wait(20)
            raise CrashedError
        super().send(records)


def test_an_episode_that_was_not_told_has_no_closed_row() -> None:
    """One that closes by its time alone has no record that is read again after a death."""
    world, producer = HeldWorld(), Producer("p")
    idle = record(None, 1, 1_000 + IDLE + 1, tick=True)

    async def dies() -> None:
        stage = make_stage(world)
        await stage.take([record(producer.seal(start(), call(2)), 0, 1_000)])
        await stage.store()
        world.slow = True
        taking = asyncio.create_task(stage.take([idle]))
        assert await asyncio.to_thread(world.sending.wait, 20)
        storing = asyncio.create_task(stage.store())
        await asyncio.wait({storing}, timeout=0.2)  # it has all the time it could need
        world.dead.set()
        with pytest.raises(CrashedError):
            await taking
        storing.cancel()
        await asyncio.gather(storing, return_exceptions=True)

    asyncio.run(dies())
    assert [row["state"] for row in world.episodes.values()] == ["open"]
    world.slow = False
    told = len(world.published())
    run(make_stage(world), [idle], assigned=True)
    assert len(world.published()) == told + 1
    assert [row["state"] for row in world.episodes.values()] == ["closed"]
