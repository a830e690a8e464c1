"""Plain completions: requests read, answers written whole and while they grow."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.gateway.conversation import AnswerEvent, Choice, ChoiceEnded, TextGrew
from headrace.connectors.gateway.dialects.completions.read import CompletionsRequest, read
from headrace.connectors.gateway.dialects.completions.stream import CompletionWriter
from headrace.connectors.gateway.dialects.completions.write import write
from headrace.connectors.gateway.errors import BadRequest
from tests.connectors.gateway.dialects.scripted import (
    HEAD,
    answer_of,
    openai_client,
    token,
    told,
    wire,
)


def parse(**fields: Any) -> CompletionsRequest:
    return read({"model": "calc", "prompt": "1+", **fields}, default_max_tokens=77)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [(1, 2)]),
        ([[1, 2], [3]], [(1, 2), (3,)]),
        (["a", [3]], ["a", (3,)]),
    ],
)
def test_a_prompt_is_text_or_token_ids_one_or_several(prompt: Any, expected: list[Any]) -> None:
    assert [ask.prompt for ask in parse(prompt=prompt).asks] == expected


def test_what_is_wanted_is_read() -> None:
    request = parse(n=2, best_of=2, logprobs=3, stop="\n", max_tokens=4, seed=1, suffix="")
    [ask] = request.asks
    assert (ask.choices, ask.logprobs) == (2, 3)
    assert (ask.sampling.stop, ask.sampling.max_tokens, ask.sampling.seed) == (("\n",), 4, 1)
    assert ask.messages == ()
    assert parse(stream_options={"include_usage": True}, stream=True).with_usage


def test_a_form_of_the_answer_is_a_constraint() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}
    constraint = parse(response_format=form).asks[0].constraint
    assert constraint is not None
    assert constraint.source == '{"type": "integer"}'
    assert parse(response_format={"type": "text"}).asks[0].constraint is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"prompt": ["a", 3]}, "prompt[1]"),
        ({"prompt": ["a"] * 100, "n": 2}, "n"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logprobs": 21}, "logprobs"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"echo": True, "prompt": [1]}, "echo"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [1]}, "stop"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        parse(**fields)
    assert raised.value.param == param


def test_log_probabilities_are_columns() -> None:
    choice = Choice(
        index=0,
        text="a€b",
        finish_reason="stop",
        tokens=(token(b"a"), token(b"\xe2\x82"), token(b"\xac"), token(b"b", float("-inf"))),
    )
    assert write(answer_of(choice))["choices"][0]["logprobs"] == {
        "tokens": ["a", "bytes:\\xe2\\x82", "bytes:\\xac", "b"],
        "token_logprobs": [-0.5, -0.5, -0.5, -9999.0],
        "top_logprobs": [
            {"a": -0.5},
            {"bytes:\\xe2\\x82": -0.5},
            {"bytes:\\xac": -0.5},
            {"b": -9999.0},
        ],
        "text_offset": [0, 1, 1, 2],
    }


def test_chunks_go_out_in_this_order() -> None:
    writer = CompletionWriter(HEAD, echoed=["1+"], with_usage=True)
    answer = answer_of(Choice(index=0, text="2", finish_reason="length"))
    sent = told(
        [
            *writer.start(),
            *writer.grew(TextGrew(choice=0, text="2")),
            *writer.grew(ChoiceEnded(choice=0, finish_reason="length")),
            *writer.end(answer),
        ]
    )
    assert sent[-1] == "[DONE]"
    assert [
        [(one["index"], one["text"], one["finish_reason"]) for one in chunk["choices"]]
        for chunk in sent[:-1]
    ] == [[(0, "1+", None)], [(0, "2", None)], [(0, "", "length")], []]
    assert [chunk["usage"] is None for chunk in sent[:-1]] == [True, True, True, False]
    assert sent[-2]["usage"]["total_tokens"] == 12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=5)), max_size=9))
def test_a_streamed_completion_is_the_unstreamed_one(pieces: list[tuple[int, str]]) -> None:
    said = ["".join(piece for index, piece in pieces if index == i) for i in range(3)]
    answer = answer_of(
        *(Choice(index=i, text=said[i], finish_reason="stop") for i in range(3)),
    )
    echoed = ["p", "q", "r"]
    writer = CompletionWriter(HEAD, echoed=echoed)
    events: list[AnswerEvent] = [TextGrew(choice=index, text=piece) for index, piece in pieces]
    events += [ChoiceEnded(choice=i, finish_reason="stop") for i in range(3)]
    sent = [
        *writer.start(),
        *(one for event in events for one in writer.grew(event)),
        *writer.end(answer),
    ]
    grown = ["", "", ""]
    streaming = openai_client(wire(sent)).completions
    for chunk in streaming.create(model="calc", prompt="p", stream=True):
        for choice in chunk.choices:
            grown[choice.index] += choice.text
    body = json.dumps(write(answer, echoed=echoed)).encode()
    whole = openai_client(body, "application/json").completions.create(model="calc", prompt="p")
    assert grown == [choice.text for choice in whole.choices]
