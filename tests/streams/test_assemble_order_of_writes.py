"""What leaves the assembler, and when: the log is told at once, the tables follow."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from headrace.schemas import partition_of
from tests.streams.assembling import (
    PARTITIONS,
    TOPIC,
    Producer,
    World,
    call,
    end,
    make_stage,
    plain,
    record,
    reward,
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
