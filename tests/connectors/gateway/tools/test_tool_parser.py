"""Calls of tools in every format: written, read back, and read while they grow."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.conversation import TextGrew, ToolCallGrew
from headrace.connectors.gateway.tools import FORMATS, ReplyParser, ToolFormat, format_of, parse
from headrace.connectors.gateway.tools.bodies import RawCall, write_call
from tests.connectors.gateway.prompts.templates import CHATML, QWEN

FORMS = list(FORMATS.values())
forms = pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=8)
    | st.sampled_from(["</tool_call>", "</call>", '"', "\\", "[ARGS]", "{}"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
NAMES = st.text("abc_", min_size=1, max_size=6).filter(str.isidentifier)
ARGUMENTS = st.dictionaries(NAMES, VALUES, max_size=3)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=3)


def written(calls: list[tuple[str, dict[str, Any]]], form: ToolFormat) -> str:
    raw = [RawCall(name=name, arguments=json.dumps(arguments)) for name, arguments in calls]
    bodies = [write_call(call, form) for call in raw]
    if form.closing:
        return "\n".join(f"{form.opening}{body}{form.closing}" for body in bodies)
    return f"{form.opening}[{', '.join(bodies)}]"


def cut(text: str, places: set[int]) -> list[str]:
    return [text[a:b] for a, b in pairwise(sorted({0, len(text), *places}))]


@forms
@given(calls=CALLS)
def test_what_is_written_is_read_back(
    form: ToolFormat, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    parsed = parse(written(calls, form), form)
    assert [(call.name, json.loads(call.arguments)) for call in parsed.calls] == calls
    assert (parsed.text, parsed.malformed) == ("", ())


@forms
@given(
    parts=st.lists(
        st.text(max_size=12)
        | st.sampled_from(["<call>", "</call>", "<tool_call>", "</tool_call>", "{", "["])
        | CALLS.map(lambda calls: written(calls, FORMATS["hermes"]))
        | CALLS.map(lambda calls: written(calls, FORMATS["headrace"])),
        max_size=4,
    ),
    data=st.data(),
)  # fmt: skip
def test_pieces_say_what_the_whole_says(
    form: ToolFormat, parts: list[str], data: st.DataObject
) -> None:
    text = "".join(parts)
    whole = parse(text, form)
    places = data.draw(st.sets(st.integers(0, len(text)), max_size=6))
    parser = ReplyParser(form, choice=0, call_id=str)
    events = [event for piece in cut(text, places) for event in parser.feed(piece)]
    events += parser.end()
    assert parser.parsed() == whole
    assert "".join(one.text for one in events if isinstance(one, TextGrew)) == whole.text
    grown = [one for one in events if isinstance(one, ToolCallGrew)]
    for index, call in enumerate(whole.calls):
        mine = [one for one in grown if one.index == index]
        assert (mine[0].id, mine[0].name) == (call.id, call.name)
        assert "".join(one.arguments for one in mine) == call.arguments


@forms
@given(text=st.text(max_size=60))
def test_any_text_is_read(form: ToolFormat, text: str) -> None:
    parsed = parse(text, form)
    assert parsed.calls or parsed.text.strip() == text.strip()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mistral", '[TOOL_CALLS][{"name": "add", "arguments": {"a": 1}}]'),
        ("mistral", '[TOOL_CALLS]add[ARGS]{"a": 1}'),
        ("mistral", '[{"name": "add", "arguments": {"a": 1}}]'),
        ("llama3_json", '<|python_tag|>{"name": "add", "parameters": {"a": 1}}'),
        ("llama3_json", '{"name": "add", "parameters": {"a": 1}}'),
        (
            "llama3_json",
            '{"type": "function", "function": {"name": "add", "parameters": {"a": 1}}}',
        ),
        ("pythonic", "[add(a=1)]"),
        ("pythonic", "<|python_start|>[add(a=1)]"),
        ("hermes", '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'),
        ("hermes", '<tool_call>{"arguments": "{\\"a\\": 1}", "name": "add"}</tool_call>'),
        ("hermes", '<tool_call>{"name": "add", "arguments": {"a": 1}}'),
        ("headrace", '<call>{"name": "add", "arguments": {"a": 1}}</call>'),
    ],
)
def test_what_models_write_is_read(name: Any, text: str) -> None:
    [call] = parse(text, FORMATS[name]).calls
    assert (call.name, json.loads(call.arguments)) == ("add", {"a": 1})


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("headrace", "<call>add 1</call>", "Expecting value"),
        ("headrace", "<call>[]</call>", "empty"),
        ("headrace", "<call>{}</call>", "names no function"),
        ("headrace", '<call>{"name": "f", "arguments": 7}</call>', "no JSON object"),
        ("headrace", '<call>{"name": "f", "arguments": {"a": NaN}}</call>', "NaN"),
        ("mistral", '[TOOL_CALLS][{"name": "f", ', "Expecting"),
        ("pythonic", "<|python_start|>[f(1)]", "named arguments"),
    ],
)
def test_what_is_no_call_stays_text_and_says_why(name: Any, text: str, why: str) -> None:
    parsed = parse(text, FORMATS[name])
    assert (parsed.text, parsed.calls) == (text, ())
    assert len(parsed.malformed) == 1
    assert why in parsed.malformed[0]


def test_text_around_calls_is_text() -> None:
    text = 'First.\n<call>{"name": "f"}</call>\n<call>{"name": "g"}</call> \nThen.'
    parsed = parse(text, FORMATS["headrace"])
    assert [call.name for call in parsed.calls] == ["f", "g"]
    assert parsed.text == "First. \nThen."


@pytest.mark.parametrize(
    ("template", "expected"),
    [(CHATML, ("headrace", False)), (QWEN, ("hermes", True)), ("", ("headrace", False))],
)
def test_a_format_is_recognised_by_the_chat_template(
    template: str, expected: tuple[str, bool]
) -> None:
    form, by_template = format_of(template)
    assert (form.name, by_template) == expected


def test_a_closing_in_a_string_that_stays_open_ends_nothing_in_pieces_either() -> None:
    text = '<call>{"a": "</call>" oops </call> and more'
    form = FORMATS["headrace"]
    parser = ReplyParser(form, choice=0, call_id=str)
    for character in text:
        parser.feed(character)
    parser.end()
    assert parser.parsed() == parse(text, form)
