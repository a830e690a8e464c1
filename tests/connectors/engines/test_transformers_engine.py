"""The built-in engine: what a request gets does not depend on its company."""

import asyncio
from pathlib import Path
from typing import Any

from headrace.connectors.engines import Generation
from tests.connectors.engines.asking import QUESTIONS, SYSTEM, assert_same, request
from tests.support.waiting import wait_until_async


def test_a_batch_answers_as_each_request_alone(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless, shared_prompt_tokens=0) as engine:
            requests = [
                request(engine, question, seed=i, temperature=0.5 + i / 2, max_tokens=8 + 5 * i)
                for i, question in enumerate(QUESTIONS)
            ]
            alone = [await engine.generate(r) for r in requests]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, other in zip(alone, together, strict=True):
                assert_same(one, other)

    asyncio.run(main())


def test_joining_in_mid_flight_changes_nothing(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            long = request(engine, QUESTIONS[0], max_tokens=150)
            late = [request(engine, q, seed=7, max_tokens=30) for q in QUESTIONS]
            alone = [await engine.generate(r) for r in (long, *late)]
            before = engine.stats().tokens_total
            running = [asyncio.create_task(engine.generate(long))]
            for n, r in enumerate(late, 1):
                await wait_until_async(
                    lambda n=n: engine.stats().tokens_total > before + 4 * n,  # type: ignore[misc]
                    "the long request to go on",
                )
                running.append(asyncio.create_task(engine.generate(r)))
            assert not running[0].done(), "the long request ended before the others came"
            for one, other in zip(alone, await asyncio.gather(*running), strict=True):
                assert_same(one, other)

    asyncio.run(main())


def test_sharing_prompt_beginnings_changes_nothing(open_engine: Any, endless: Path) -> None:
    async def answers(shared: int) -> tuple[list[Generation], int]:
        async with open_engine(endless, shared_prompt_tokens=shared) as engine:
            requests = [request(engine, QUESTIONS[i % 3], seed=i) for i in range(9)]
            first = await asyncio.gather(*map(engine.generate, requests))
            later = await engine.generate(request(engine, QUESTIONS[3]))
            again = await engine.generate(request(engine, QUESTIONS[0]))
            return [*first, later, again], engine.stats().shared_prompt_tokens_total

    with_sharing, shared_tokens = asyncio.run(answers(8192))
    without, none = asyncio.run(answers(0))
    assert none == 0
    assert shared_tokens > 8 * len(SYSTEM) // 2
    for one, other in zip(with_sharing, without, strict=True):
        assert_same(one, other)


def test_seeds_repeat_and_differ(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            same = [request(engine, QUESTIONS[0], seed=5) for _ in range(3)]
            one, two, three = await asyncio.gather(*map(engine.generate, same))
            assert one.token_ids == two.token_ids == three.token_ids
            other = await engine.generate(request(engine, QUESTIONS[0], seed=6))
            assert other.token_ids != one.token_ids
            fresh = [request(engine, QUESTIONS[0], seed=None) for _ in range(2)]
            a, b = await asyncio.gather(*map(engine.generate, fresh))
            assert a.token_ids != b.token_ids

    asyncio.run(main())


def test_greedy_and_hot_requests_share_a_batch(open_engine: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_engine(endless) as engine:
            greedy = [request(engine, QUESTIONS[1], temperature=0, seed=s) for s in (1, 2)]
            hot = request(engine, QUESTIONS[1], temperature=5.0)
            one, other, third = await asyncio.gather(*map(engine.generate, [*greedy, hot]))
            assert one.token_ids == other.token_ids
            assert third.token_ids != one.token_ids

    asyncio.run(main())


def test_more_requests_than_the_batch_holds_wait_their_turn(
    open_engine: Any, endless: Path
) -> None:
    async def main() -> None:
        async with open_engine(endless, max_batch=3) as engine:
            requests = [request(engine, QUESTIONS[i % 4], seed=i) for i in range(10)]
            together = await asyncio.gather(*map(engine.generate, requests))
            for one, r in zip(together, requests, strict=True):
                assert_same(one, await engine.generate(r))

    asyncio.run(main())
