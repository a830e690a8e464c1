"""What every engine tells of a completion while it grows, and of its tokens."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.engines import (
    Constraint,
    Engine,
    Generation,
    GenerationRequest,
    Increment,
    InvalidRequest,
    SamplingParameters,
)
from tests.connectors.engines.asking import QUESTIONS, request

SHARED = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


async def told(engine: Engine, asked: GenerationRequest) -> tuple[Generation, list[Increment]]:
    increments: list[Increment] = []
    generation = await engine.generate(asked, increments.append)
    return generation, increments


def assert_whole(generation: Generation, increments: list[Increment]) -> None:
    assert "".join(one.text for one in increments) == generation.text
    for name in ("token_ids", "logprobs", "versions", "top_logprobs"):
        joined = tuple(value for one in increments for value in getattr(one, name))
        assert joined == getattr(generation, name), name


def test_increments_are_the_completion(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            asked = [request(engine, q, seed=i, max_tokens=60) for i, q in enumerate(QUESTIONS)]
            for generation, increments in await asyncio.gather(*(told(engine, a) for a in asked)):
                assert_whole(generation, increments)
            assert any(len(increments) > 1 for _, increments in [await told(engine, asked[0])])

    asyncio.run(main())


@SHARED
@given(seed=st.integers(0, 10_000))
def test_no_increment_holds_what_a_stop_string_takes_back(
    open_any: Any, endless: Path, seed: int
) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            free = await engine.generate(request(engine, QUESTIONS[0], seed=seed, max_tokens=24))
            middle = free.text[len(free.text) // 2 :][:3]
            stops = (middle,) if middle else ("never",)
            cut = request(engine, QUESTIONS[0], seed=seed, max_tokens=24, stop=stops)
            generation, increments = await told(engine, cut)
            assert_whole(generation, increments)
            if middle:
                assert generation.finish_reason == "stop"

    asyncio.run(main())


def test_what_the_listener_raises_ends_the_request(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:

            def refuse(_: Increment) -> None:
                raise LookupError("enough")

            with pytest.raises(LookupError, match="enough"):
                await engine.generate(request(engine, QUESTIONS[0], max_tokens=400), refuse)
            await engine.generate(request(engine, QUESTIONS[0], max_tokens=2))
            assert engine.stats().running == 0

    asyncio.run(main())


def test_the_most_probable_tokens_are_told(open_any: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_any(endless) as engine:
            asked = [
                request(engine, QUESTIONS[0], seed=3, max_tokens=6, top_logprobs=k)
                for k in (0, 1, 5)
            ]
            none, one, five = await asyncio.gather(*map(engine.generate, asked))
            assert none.top_logprobs == ()
            assert [len(top) for top in one.top_logprobs] == [1] * 6
            assert [len(top) for top in five.top_logprobs] == [5] * 6
            for token, logprob, top in zip(
                five.token_ids, five.logprobs, five.top_logprobs, strict=True
            ):
                values = [value for _, value in top]
                assert values == sorted(values, reverse=True)
                assert values[0] >= logprob
                assert dict(top).get(token, logprob) == pytest.approx(logprob, abs=1e-6)

    asyncio.run(main())


def test_bytes_of_tokens_are_the_text(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            for text in ("plain", "a b  c\n", "naïve — 日本 🙂", "<|im_start|>user\n"):
                pieces = engine.token_bytes(engine.encode(text))
                assert b"".join(pieces).decode() == text
            with pytest.raises(InvalidRequest, match="999999"):
                engine.token_bytes([999_999])

    asyncio.run(main())


SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2, 3]}, "ok": {"type": "boolean"}},
    "required": ["n", "ok"],
    "additionalProperties": False,
}


def test_a_completion_has_the_form_that_it_must_have(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            form = Constraint(kind="json_schema", source=json.dumps(SCHEMA))
            asked = [
                request(engine, QUESTIONS[0], seed=seed, max_tokens=200, constraint=form)
                for seed in range(6)
            ]
            free = request(engine, QUESTIONS[0], seed=1, max_tokens=9)
            *made, beside = await asyncio.gather(*map(engine.generate, [*asked, free]))
            for generation in made:
                if generation.finish_reason == "stop":
                    value = json.loads(generation.text)
                    assert value["n"] in (1, 2, 3)
            assert any(one.finish_reason == "stop" for one in made)
            alone = await engine.generate(free)
            assert beside.token_ids == alone.token_ids

    asyncio.run(main())


def test_a_form_may_be_an_expression(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            form = Constraint(kind="regex", source="(yes|no)")
            generation, increments = await told(
                engine, request(engine, QUESTIONS[0], max_tokens=30, constraint=form)
            )
            assert generation.text in ("yes", "no")
            assert generation.finish_reason == "stop"
            assert_whole(generation, increments)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "source"),
    [("json_schema", "{"), ("json_schema", '{"type": "nothing"}'), ("regex", "("), ("lark", "x")],
)
def test_a_form_that_is_none_is_refused(open_any: Any, tiny: Path, kind: Any, source: str) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            form = Constraint(kind=kind, source=source)
            with pytest.raises(InvalidRequest, match=kind):
                await engine.generate(request(engine, QUESTIONS[0], constraint=form))

    asyncio.run(main())


def test_log_probabilities_are_of_the_form_s_own_distribution(open_any: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_any(tiny) as engine:
            form = Constraint(kind="regex", source="abc")
            asked = GenerationRequest(
                prompt_ids=engine.encode("x"),
                sampling=SamplingParameters(max_tokens=9),
                constraint=form,
            )
            generation = await engine.generate(asked)
            assert generation.text == "abc"
            # One character at a time: whatever is left out cannot be drawn.
            assert all(value <= 0 for value in generation.logprobs)

    asyncio.run(main())
