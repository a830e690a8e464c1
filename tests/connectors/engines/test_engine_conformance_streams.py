"""What every engine tells while a completion grows, and of each token: the contract of base.py."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.engines import (
    GenerationRequest,
    Increment,
    InvalidRequest,
    SamplingParameters,
)
from tests.connectors.engines.asking import (
    PROMPT,
    QUESTIONS,
    assert_parts_are,
    load,
    request,
    told,
)
from tests.support.waiting import wait_until_async


def asked(seed: int, top_logprobs: int = 0, **sampling: Any) -> GenerationRequest:
    parameters = SamplingParameters(**{"max_tokens": 60, "seed": seed, **sampling})
    return GenerationRequest(prompt_ids=PROMPT, sampling=parameters, top_logprobs=top_logprobs)


def test_increments_one_after_the_other_are_the_completion(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            # Random bytes: characters come whole, broken and cut off at the end.
            plain = [asked(seed, temperature=1.5, top_logprobs=seed % 3) for seed in range(40)]
            short = [asked(seed, max_tokens=1 + seed % 3) for seed in range(10)]
            answers = await asyncio.gather(*(told(engine, one) for one in plain + short))
            for generation, parts in answers:
                assert_parts_are(generation, parts)
            assert any(len(parts) > 3 for _, parts in answers)
            silent = await asyncio.gather(*(engine.generate(one) for one in plain))
            for (generation, _), other in zip(answers, silent, strict=False):
                assert (generation.token_ids, generation.text) == (other.token_ids, other.text)

    asyncio.run(main())


@pytest.mark.parametrize("include", [False, True])
def test_no_increment_tells_what_a_stop_string_takes_back(
    open_any: Any, endless: Path, include: bool
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            stopped = 0
            for seed in range(12):
                whole = await engine.generate(asked(seed))
                # A stop string over several tokens, at the very beginning and in the middle.
                for at in (0, len(whole.text) // 2):
                    stop = whole.text[at : at + 4]
                    if "\ufffd" in stop:
                        continue
                    wanted = asked(seed, stop=("never seen", stop, stop[1:]), include_stop=include)
                    generation, parts = await told(engine, wanted)
                    assert_parts_are(generation, parts)
                    assert generation.stop in (stop, stop[1:])
                    stopped += 1
                    if not include:
                        assert not any(end in generation.text for end in (stop, stop[1:]))
                    else:
                        assert generation.text.endswith(generation.stop or "")
            assert stopped > 5, "the noise has no stop strings: take other seeds"

    asyncio.run(main())


def test_what_on_increment_raises_ends_the_request(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            calls = 0

            def failing(part: Increment) -> None:
                nonlocal calls
                calls += 1
                if calls == 2:
                    raise KeyError("the caller's own")

            with pytest.raises(KeyError, match="own"):
                await engine.generate(asked(1, max_tokens=1500), failing)
            await wait_until_async(lambda: load(engine) == (0, 0), "an empty engine")
            assert calls == 2
            assert len((await engine.generate(asked(1))).token_ids) == 60

    asyncio.run(main())


def test_raising_at_the_last_increment_ends_the_request_too(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:

            def failing(part: Increment) -> None:
                raise LookupError("at once")

            with pytest.raises(LookupError, match="at once"):
                await engine.generate(asked(1, max_tokens=1), failing)

    asyncio.run(main())


def test_who_has_left_is_told_nothing_more(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            parts: list[Increment] = []
            task = asyncio.create_task(
                engine.generate(asked(1, max_tokens=1500), on_increment=parts.append)
            )
            await wait_until_async(lambda: len(parts) > 2, "increments")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            count = len(parts)
            await wait_until_async(lambda: load(engine) == (0, 0), "an empty engine")
            await asyncio.sleep(0)
            assert len(parts) == count
            assert engine.stats().tokens_total < 1500

    asyncio.run(main())


def test_increments_come_while_the_completion_grows(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            parts: list[Increment] = []
            task = asyncio.create_task(
                engine.generate(asked(1, max_tokens=1500), on_increment=parts.append)
            )
            await wait_until_async(lambda: len(parts) > 5, "increments")
            assert not task.done()
            assert_parts_are(await task, parts)

    asyncio.run(main())


def test_each_request_gets_as_many_top_logprobs_as_it_asks(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            counts = [0, 3, 1, 20, 0, 7]
            requests = [asked(i, top_logprobs=count) for i, count in enumerate(counts)]
            answers = await asyncio.gather(*(told(engine, one) for one in requests))
            for count, (generation, parts) in zip(counts, answers, strict=True):
                assert_parts_are(generation, parts)
                tops = generation.top_logprobs
                assert [len(top) for top in tops] == [count] * (60 if count else 0)
                for top in tops:
                    chances = [chance for _, chance in top]
                    assert chances == sorted(chances, reverse=True)
                    assert len({token for token, _ in top}) == count

    asyncio.run(main())


@pytest.mark.parametrize(
    "sampling", [{}, {"temperature": 0.6}, {"temperature": 0}, {"top_k": 5}, {"top_p": 0.5}]
)
def test_top_logprobs_are_of_the_distribution_that_was_drawn_from(
    open_any: Any, endless: Path, sampling: dict[str, Any]
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            everything = asked(4, top_logprobs=100_000, **sampling)
            generation = await engine.generate(everything)
            for token, logprob, top in zip(
                generation.token_ids, generation.logprobs, generation.top_logprobs, strict=True
            ):
                assert dict(top)[token] == logprob
                assert math.fsum(math.exp(chance) for _, chance in top) == pytest.approx(
                    1, abs=1e-4
                )
                if sampling == {"top_k": 5}:
                    assert len(top) == 5

    asyncio.run(main())


def test_asking_for_top_logprobs_changes_nothing_else(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            without = await engine.generate(asked(3))
            with_them = await engine.generate(asked(3, top_logprobs=5))
            assert without.token_ids == with_them.token_ids
            assert without.logprobs == with_them.logprobs

    asyncio.run(main())


def test_a_negative_number_of_top_logprobs_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="top_logprobs"):
        asked(1, top_logprobs=-1)


def test_the_bytes_of_sampled_tokens_are_the_text(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            for seed in range(20):
                generation = await engine.generate(request(engine, QUESTIONS[0], seed=seed))
                pieces = engine.token_bytes(generation.token_ids)
                specials = {b"<|endoftext|>", b"<|im_start|>", b"<|im_end|>", b"<|end|>"}
                shown = b"".join(piece for piece in pieces if piece not in specials)
                assert shown.decode(errors="replace") == generation.text
            text = "naïve 😀\n<tool_call>"
            assert b"".join(engine.token_bytes(engine.encode(text))) == text.encode()
            for token in engine.end_ids:
                (piece,) = engine.token_bytes([token])
                assert engine.encode(piece.decode()) == (token,)
            with pytest.raises(InvalidRequest, match="token ids"):
                engine.token_bytes([10**6])

    asyncio.run(main())
