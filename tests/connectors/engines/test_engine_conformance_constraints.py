"""Completions that must have a form, by every engine that has a model."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.engines import (
    Constraint,
    GenerationRequest,
    InvalidRequest,
    SamplingParameters,
)
from tests.connectors.engines.asking import QUESTIONS, assert_parts_are, request, told

SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 2, 3]}, "ok": {"type": "boolean"}},
    "required": ["n", "ok"],
    "additionalProperties": False,
}


def test_a_completion_has_the_form_that_it_must_have(open_model: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
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


def test_a_form_may_be_an_expression(open_model: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            form = Constraint(kind="regex", source="(yes|no)")
            generation, increments = await told(
                engine, request(engine, QUESTIONS[0], max_tokens=30, constraint=form)
            )
            assert generation.text in ("yes", "no")
            assert generation.finish_reason == "stop"
            assert_parts_are(generation, increments)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "source"),
    [("json_schema", "{"), ("json_schema", '{"type": "nothing"}'), ("regex", "("), ("lark", "x")],
)
def test_a_form_that_is_none_is_refused(
    open_model: Any, tiny: Path, kind: Any, source: str
) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            form = Constraint(kind=kind, source=source)
            with pytest.raises(InvalidRequest, match=kind):
                await engine.generate(request(engine, QUESTIONS[0], constraint=form))

    asyncio.run(main())


def test_log_probabilities_are_of_the_form_s_own_distribution(open_model: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
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
