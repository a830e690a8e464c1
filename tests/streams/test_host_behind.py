"""What was told is acknowledged when it is stored, in order, and what is owed is bounded."""

import asyncio
from collections.abc import Sequence
from functools import partial

from headrace.connectors.kafka import DeadLetter, KafkaAccess, LogRecord, Partition, RegistryAccess
from headrace.streams.host.behind import Acknowledgement, Behind
from headrace.streams.host.config import HostConfig
from tests.support.waiting import wait_until_async

CONFIG = HostConfig(
    name="slow",
    kafka=KafkaAccess(bootstrap="nowhere:1"),
    registry=RegistryAccess(url="mock://behind"),
    store_ms=1,
    store_bytes=10,
)


class Plain:
    """A stage whose takes are durable when they return."""

    name = "slow"
    topics = ("t",)

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        pass

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        return []

    def next_deadline(self, where: Partition) -> int | None:
        return None


class Slow(Plain):
    """A stage whose store ends when it is let."""

    def __init__(self) -> None:
        self.owed_bytes = 0
        self.stores = 0
        self.done = asyncio.Event()

    async def store(self) -> None:
        self.stores += 1
        owed = self.owed_bytes
        await self.done.wait()
        self.owed_bytes -= owed


def takes(acked: list[int], *numbers: int) -> list[Acknowledgement]:
    async def ack(number: int) -> None:
        acked.append(number)

    return [partial(ack, number) for number in numbers]


def test_takes_are_acknowledged_in_order_after_the_store_that_follows_them() -> None:
    async def go() -> None:
        stage, acked = Slow(), list[int]()
        behind = Behind(stage, CONFIG)
        running = asyncio.create_task(behind.run())
        await behind.add(takes(acked, 1, 2))
        await wait_until_async(lambda: stage.stores == 1, "the first store")
        await behind.add(takes(acked, 3))
        assert acked == []
        stage.done.set()
        await wait_until_async(lambda: acked == [1, 2, 3], "all acknowledgements")
        assert stage.stores == 2, "what came during a store waits for the next one"
        running.cancel()

    asyncio.run(go())


def test_a_take_waits_while_too_much_is_owed() -> None:
    async def go() -> None:
        stage, acked = Slow(), list[int]()
        behind = Behind(stage, CONFIG)
        running = asyncio.create_task(behind.run())
        stage.owed_bytes = 4 * CONFIG.store_bytes
        adding = asyncio.create_task(behind.add(takes(acked, 1)))
        await wait_until_async(lambda: stage.stores == 1, "the store")
        assert not adding.done()
        stage.done.set()
        await adding
        assert acked == [1]
        running.cancel()

    asyncio.run(go())


def test_a_stage_that_owes_nothing_is_acknowledged_at_once() -> None:
    acked: list[int] = []
    asyncio.run(Behind(Plain(), CONFIG).add(takes(acked, 1, 2)))
    assert acked == [1, 2]
