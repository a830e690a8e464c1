"""Completions that must have a form, by every engine that has a model."""

import asyncio
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.engines import (
    Constraint,
    InvalidRequest,
)
from tests.connectors.engines.asking import QUESTIONS, assert_parts_are, assert_same, request, told

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


def test_log_probabilities_are_of_what_the_form_allows(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            form = Constraint(kind="regex", source="[AB][CDE]F")
            wanted = request(
                engine, QUESTIONS[0], max_tokens=9, constraint=form, top_logprobs=300, seed=None
            )
            for generation in await asyncio.gather(*(engine.generate(wanted) for _ in range(8))):
                assert re.fullmatch(form.source, generation.text)
                assert generation.finish_reason == "stop"
                assert not generation.stop_token_included
                places = zip(
                    generation.token_ids,
                    generation.logprobs,
                    generation.top_logprobs,
                    (2, 3, 1),
                    strict=True,
                )
                for token, logprob, top, choices in places:
                    assert len(top) == choices
                    assert dict(top)[token] == logprob
                    assert math.fsum(math.exp(one) for _, one in top) == pytest.approx(1, abs=1e-5)

    asyncio.run(main())


def test_a_form_that_may_go_on_ends_by_the_end_token(open_model: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            form = Constraint(kind="regex", source="[a-z]*")
            wanted = [
                request(engine, QUESTIONS[0], seed=seed, max_tokens=300, constraint=form)
                for seed in range(6)
            ]
            for generation in await asyncio.gather(*map(engine.generate, wanted)):
                assert re.fullmatch(form.source, generation.text)
                if generation.finish_reason == "stop":
                    assert generation.token_ids[-1] in engine.end_ids
                    assert generation.stop_token_included

    asyncio.run(main())


def test_a_form_for_a_model_without_an_end_token(open_model: Any, endless: Path) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            open_end = Constraint(kind="regex", source="[a-z]*")
            closed = Constraint(kind="regex", source="[a-z]{5}")
            first, second = await asyncio.gather(
                *(
                    engine.generate(request(engine, QUESTIONS[0], max_tokens=40, constraint=form))
                    for form in (open_end, closed)
                )
            )
            assert re.fullmatch("[a-z]{40,}", first.text)
            assert first.finish_reason == "length"
            assert re.fullmatch("[a-z]{5}", second.text)
            assert second.finish_reason == "stop"
            empty = Constraint(kind="regex", source="")
            with pytest.raises(InvalidRequest, match="no token of the model begins it"):
                await engine.generate(request(engine, QUESTIONS[0], constraint=empty))

    asyncio.run(main())


def test_any_object_may_be_asked_for(open_model: Any, tiny: Path) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            form = Constraint(kind="json_object")
            wanted = [
                request(engine, QUESTIONS[0], seed=seed, max_tokens=600, constraint=form)
                for seed in range(12)
            ]
            answers = await asyncio.gather(*map(engine.generate, wanted))
            whole = [one for one in answers if one.finish_reason == "stop"]
            assert whole
            assert all(isinstance(json.loads(one.text), dict) for one in whole)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("json_schema", '{"$ref": "#"}'),
        ("json_schema", '{"items": ' * 5000 + "{}" + "}" * 5000),
        ("json_schema", '{"$ref": "https://example.com/a.json"}'),
        ("lark", "start: " + "(" * 50_000 + '"a"' + ")" * 50_000),
        ("regex", "a" * 300_000),
    ],
)
def test_a_form_that_costs_too_much_is_refused_before_anything_is_sampled(
    open_model: Any, tiny: Path, kind: Any, source: str
) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            form = Constraint(kind=kind, source=source)
            with pytest.raises(InvalidRequest, match=kind) as refused:
                await engine.generate(request(engine, QUESTIONS[0], constraint=form))
            assert len(str(refused.value)) <= 1000
            assert engine.stats().requests_total == 0

    asyncio.run(main())


def test_a_form_that_becomes_too_costly_ends_its_own_request_alone(
    open_model: Any, endless: Path
) -> None:
    async def main() -> None:
        async with open_model(endless) as engine:
            costly = Constraint(kind="regex", source="((((a{1000}){1000}){1000}){1000})")
            plain = request(engine, QUESTIONS[0], max_tokens=60)
            alone = await engine.generate(plain)
            lost = asyncio.create_task(
                engine.generate(request(engine, QUESTIONS[0], constraint=costly))
            )
            assert_same(await engine.generate(plain), alone)
            with pytest.raises(InvalidRequest, match="constraint was lost"):
                await lost
            assert engine.stats().running == 0

    asyncio.run(main())


Schema = dict[str, Any]
LEAVES: st.SearchStrategy[Schema] = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.builds(
        lambda low, size: {"type": "integer", "minimum": low, "maximum": low + size},
        st.integers(-50, 50),
        st.integers(0, 200),
    ),
    st.builds(lambda size: {"type": "string", "maxLength": size}, st.integers(0, 5)),
    st.builds(
        lambda words: {"enum": words},
        st.lists(st.text('aé😀"\\\n', max_size=4) | st.integers(0, 9), min_size=1, max_size=3),
    ),
)


def _inside(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    objects = st.dictionaries(st.text("abé", min_size=1, max_size=3), inner, max_size=3).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )
    arrays = st.builds(
        lambda items, least: {"type": "array", "items": items, "minItems": least, "maxItems": 2},
        inner,
        st.integers(0, 2),
    )
    return objects | arrays


def fits(value: Any, schema: Schema) -> bool:
    if "enum" in schema:
        return value in schema["enum"] and not isinstance(value, bool)
    kind = schema["type"]
    if kind == "object":
        return (
            isinstance(value, dict)
            and list(value) == schema["required"]
            and all(fits(value[name], inner) for name, inner in schema["properties"].items())
        )
    if kind == "array":
        return (
            isinstance(value, list)
            and schema["minItems"] <= len(value) <= 2
            and all(fits(one, schema["items"]) for one in value)
        )
    if kind == "string":
        return isinstance(value, str) and len(value) <= schema["maxLength"]
    if kind == "integer":
        return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    return value is None if kind == "null" else isinstance(value, bool)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(schemas=st.lists(st.recursive(LEAVES, _inside, max_leaves=4), min_size=4, max_size=4))
def test_what_ended_by_itself_is_as_its_schema_says(
    open_model: Any, tiny: Path, schemas: list[Schema]
) -> None:
    async def main() -> None:
        async with open_model(tiny) as engine:
            wanted = [
                request(
                    engine,
                    QUESTIONS[0],
                    seed=seed,
                    max_tokens=300,
                    constraint=Constraint(kind="json_schema", source=json.dumps(schema)),
                )
                for seed, schema in enumerate(schemas)
            ]
            for schema, generation in zip(
                schemas, await asyncio.gather(*map(engine.generate, wanted)), strict=True
            ):
                if generation.finish_reason == "stop":
                    assert fits(json.loads(generation.text), schema), generation.text

    asyncio.run(main())
