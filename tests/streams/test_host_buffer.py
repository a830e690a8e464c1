"""Events come into takes once, in order, and whoever brings them waits where there is no room."""

import asyncio
from collections.abc import AsyncIterator

from headrace.streams.host.buffer import Buffer

LONG_S = 60.0


async def counted(upto: int, seen: list[int]) -> AsyncIterator[int]:
    for number in range(upto):
        seen.append(number)
        yield number


def test_a_full_buffer_is_taken_at_once_and_holds_up_its_feeder() -> None:
    async def go() -> None:
        seen: list[int] = []
        buffer = Buffer(3)
        feeding = asyncio.create_task(buffer.feed(counted(7, seen)))
        assert await buffer.take(LONG_S) == [0, 1, 2]
        assert await buffer.take(LONG_S) == [3, 4, 5]
        assert await buffer.take(0.01) == [6]
        await feeding
        assert seen == list(range(7))

    asyncio.run(go())


def test_nothing_is_read_ahead_of_a_full_buffer() -> None:
    async def go() -> None:
        seen: list[int] = []
        buffer = Buffer(2)
        feeding = asyncio.create_task(buffer.feed(counted(5, seen)))
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == [0, 1]
        feeding.cancel()

    asyncio.run(go())


def test_a_take_waits_for_the_first_event_and_then_a_moment() -> None:
    async def go() -> None:
        buffer = Buffer(10)
        taking = asyncio.create_task(buffer.take(0.01))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not taking.done()
        await buffer.feed(counted(2, []))
        assert await taking == [0, 1]

    asyncio.run(go())
