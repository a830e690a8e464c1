"""What a reply with tools may say: calls that can be read back, text where none has to be."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.engines import Constraint
from headrace.connectors.engines.policy import TOOL_FORMATS
from headrace.connectors.gateway.conversation import Tool, ToolChoice
from headrace.connectors.gateway.tools import FORMATS, NoGrammar, ToolFormat, grammar, parse
from headrace.connectors.gateway.tools.bodies import RawCall, write_call
from headrace.connectors.gateway.tools.formats import ToolFormatName
from tests.connectors.gateway.tools.grammar_texts import allows, begins

forms = pytest.mark.parametrize("form", FORMATS.values(), ids=list(FORMATS))
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["c", "f"]},
        "exact": {"type": "boolean"},
        "part": {"anyOf": [{"$ref": "#/$defs/Part"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
    "$defs": {
        "Part": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        }
    },
}
WEATHER = Tool(name="weather", parameters=SCHEMA, strict=True)
PING = Tool(name="ping", parameters={"type": "object", "properties": {}})
REQUIRED, AUTO, ONE = ToolChoice(mode="required"), ToolChoice(), ToolChoice(parallel=False)
GOOD = {"city": "Köln", "days": 2, "unit": "c", "exact": True, "part": {"name": "x"}, "tags": []}
BAD: list[dict[str, Any]] = [
    {},
    {"city": "Köln"},
    {**GOOD, "days": "2"},
    {**GOOD, "unit": "k"},
    {**GOOD, "part": {}},
    {**GOOD, "tags": [1]},
    {**GOOD, "more": 1},
]


def written(form: ToolFormat, *calls: tuple[str, dict[str, Any]]) -> str:
    made = [
        write_call(RawCall(name=name, arguments=json.dumps(arguments, ensure_ascii=False)), form)
        for name, arguments in calls
    ]
    if form.closing:
        return "\n".join(f"{form.opening}{one}{form.closing}" for one in made)
    return f"[{', '.join(made)}]" if len(made) > 1 or form.body == "python" else made[0]


def test_the_setting_knows_the_formats_of_the_table() -> None:
    assert set(TOOL_FORMATS) == set(FORMATS) == set(get_args(ToolFormatName))


@forms
@pytest.mark.parametrize("choice", [REQUIRED, ToolChoice(mode="required", name="weather"), AUTO])
def test_a_call_by_its_schema_is_allowed_and_no_other(form: ToolFormat, choice: ToolChoice) -> None:
    made = grammar([WEATHER, PING], choice, form, strict=True)
    good = written(form, ("weather", GOOD))
    assert allows(made, good)
    [call] = parse(good, form).calls
    assert (call.name, json.loads(call.arguments)) == ("weather", GOOD)
    for arguments in BAD:
        assert not allows(made, written(form, ("weather", arguments)))
    assert not allows(made, written(form, ("nothing", {})))
    assert allows(made, written(form, ("ping", {}))) is (choice.name != "weather")


@forms
def test_a_call_that_has_to_be_made_is_all_that_is_said(form: ToolFormat) -> None:
    made = grammar([WEATHER], REQUIRED, form)
    call = written(form, ("weather", GOOD))
    for text in ("", "hello", f"hello {call}", f"{call} hello"):
        assert not allows(made, text)


@forms
def test_beside_strict_tools_anything_may_be_said_that_begins_no_call(form: ToolFormat) -> None:
    call = written(form, ("weather", GOOD))
    several = written(form, ("weather", GOOD), ("ping", {}))
    for choice, many in ((AUTO, True), (ONE, False)):
        made = grammar([WEATHER, PING], choice, form, strict=True)
        for text in ("", "hello", "a < b", "2\n\n3", "ç"):
            assert allows(made, text)
        assert allows(made, call)
        assert allows(made, several) is many
        assert not allows(made, form.opening + "oops" + form.closing)


def test_text_and_calls_take_turns_where_calls_have_an_end() -> None:
    form = FORMATS["hermes"]
    call = written(form, ("ping", {}))
    made = grammar([WEATHER, PING], AUTO, form, strict=True)
    assert allows(made, f"First.\n{call}\nThen {call} so.")
    assert begins(made, "First <tool_cal")
    assert not begins(made, 'First <tool_call>{"nome')


@forms
def test_tools_that_are_not_strict_are_left_alone(form: ToolFormat) -> None:
    assert grammar([PING], AUTO, form, strict=True) is None
    assert grammar([WEATHER], AUTO, form, strict=False) is None
    assert grammar([WEATHER], ToolChoice(mode="none"), form, strict=True) is None
    assert grammar([], AUTO, form, strict=True) is None


@forms
@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
def test_an_answer_by_a_schema_does_not_keep_a_model_from_calling(
    form: ToolFormat, kind: Any
) -> None:
    source = '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'
    answer = Constraint(kind=kind, source=source if kind == "json_schema" else "")
    made = grammar([WEATHER, PING], AUTO, form, answer=answer)
    assert allows(made, '{"n": 5}')
    assert allows(made, written(form, ("ping", {})))
    assert not allows(made, "hello")
    assert allows(made, '{"n": "5"}') is (kind == "json_object")
    assert grammar([], AUTO, form, answer=answer) is answer


@forms
def test_the_token_of_an_opening_is_named(form: ToolFormat) -> None:
    made = grammar([WEATHER], AUTO, form, strict=True, opening_id=7)
    assert made is not None
    assert "<[7]>" in made.source


@pytest.mark.parametrize(
    "tool",
    [
        Tool(name="get-weather"),
        Tool(name="f", parameters={"properties": {"a-b": {"type": "string"}}}),
    ],
)
def test_what_python_cannot_call_has_no_grammar(tool: Tool) -> None:
    with pytest.raises(NoGrammar, match="Python"):
        grammar([tool], REQUIRED, FORMATS["pythonic"])
    assert grammar([tool], AUTO, FORMATS["pythonic"], strict=True) is None
    assert grammar([tool], REQUIRED, FORMATS["hermes"]) is not None


VALUES: dict[str, Any] = {
    "string": st.text(max_size=6).filter(str.isprintable),
    "integer": st.integers(-(10**9), 10**9),
    "boolean": st.booleans(),
    "null": st.none(),
}


@st.composite
def typed(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], Any]:
    """A schema, and a value that it describes."""
    inner = ["array", "object", "enum", "anyOf"] if depth else []
    kind = draw(st.sampled_from([*VALUES, *inner]))
    if kind in VALUES:
        return {"type": kind}, draw(VALUES[kind])
    if kind == "enum":
        choices = draw(st.lists(st.text("ab'\"\\", max_size=3) | st.none(), min_size=1, max_size=3))
        return {"enum": choices}, draw(st.sampled_from(choices))
    schema, value = draw(typed(depth - 1))
    if kind == "array":
        return {"type": "array", "items": schema}, [value] * draw(st.integers(0, 2))
    if kind == "anyOf":
        other, _ = draw(typed(0))
        return {"anyOf": draw(st.permutations([schema, other]))}, value
    return draw(objects(depth - 1))


@st.composite
def objects(draw: st.DrawFn, depth: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    members = {name: draw(typed(depth)) for name in draw(st.sets(st.sampled_from("abcd")))}
    needed = [name for name in members if draw(st.booleans())]
    given = sorted(members, key=lambda name: name not in needed)
    left_out = draw(st.sets(st.sampled_from("abcd")))
    schema = {
        "type": "object",
        "properties": {name: schema for name, (schema, _) in members.items()},
        "required": needed,
    }
    value = {name: members[name][1] for name in given if name in needed or name not in left_out}
    return schema, value


@settings(max_examples=80, deadline=None)
@given(drawn=objects(), several=st.booleans())
def test_whatever_a_schema_describes_can_be_called_in_python_and_is_read_back(
    drawn: tuple[dict[str, Any], dict[str, Any]], several: bool
) -> None:
    schema, arguments = drawn
    form = FORMATS["pythonic"]
    tool = Tool(name="pkg.f", parameters=schema, strict=True)
    made = grammar([tool], AUTO, form, strict=True)
    text = written(form, *[("pkg.f", arguments)] * (2 if several else 1))
    assert allows(made, text), (made, text)
    for call in parse(text, form).calls:
        assert (call.name, json.loads(call.arguments)) == ("pkg.f", arguments)
