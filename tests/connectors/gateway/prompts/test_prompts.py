"""The next prompt begins with the tokens that were sampled, whatever the template is."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.conversation import Choice, Message, Tool, ToolCall
from headrace.connectors.gateway.errors import BadRequest
from headrace.connectors.gateway.prompts import Prompt, Prompts, Rendering
from tests.connectors.gateway.prompts.templates import (
    CHATML,
    END,
    FORGETFUL,
    LLAMA3,
    QWEN,
    decode,
    engine,
)

SCOPE = "default/r/a"
ADD = Tool(name="add", parameters={"type": "object"})
ENDS = {CHATML: END["<|im_end|>"], QWEN: END["<|im_end|>"], LLAMA3: END["<|eot|>"]}
templates = pytest.mark.parametrize(
    "template", [CHATML, QWEN, LLAMA3], ids=["chatml", "qwen", "llama3"]
)


def prompts(template: str, max_bytes: int = 1 << 20) -> Prompts:
    return Prompts(Rendering(engine(template)), max_bytes=max_bytes)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def says(text: str, *calls: ToolCall) -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


def sampled(text: str, end: int | None, *calls: ToolCall, said: str | None = None) -> Choice:
    """An answer whose every byte was a token of its own: "ab" is cut otherwise by the encoder."""
    ids = tuple((text if said is None else said).encode()) + (() if end is None else (end,))
    return Choice(
        index=0,
        text=text,
        tool_calls=calls,
        finish_reason="length" if end is None else "stop",
        sampled_ids=ids,
    )


@templates
def test_an_answer_that_comes_back_is_its_tokens_again(template: str) -> None:
    known = prompts(template)
    first = [user("a question")]
    asked = known.prompt(SCOPE, first, ())
    answer = sampled("abba", ENDS[template])
    known.remember(SCOPE, first, asked, answer, "r/a/1")
    second = [*first, says("abba"), user("and now?")]
    prompt = known.prompt(SCOPE, second, ())
    before = (*asked.ids, *answer.sampled_ids)
    assert asked.how == "new"
    assert (prompt.how, prompt.extends) == ("extended", "r/a/1")
    assert prompt.ids[: len(before)] == before
    assert decode(prompt.ids) == prompt.text == engine(template).render(_plain(second))
    assert prompt.ids != engine(template).encode(prompt.text)


def _plain(messages: list[Message]) -> list[dict[str, str]]:
    return [{"role": one.role, "content": one.content} for one in messages]


@templates
@given(st.lists(st.text("abc \né", min_size=1, max_size=6), min_size=1, max_size=4), st.data())
def test_each_prompt_of_a_long_conversation_begins_with_the_one_before(
    template: str, answers: list[str], data: st.DataObject
) -> None:
    known, messages, before = prompts(template), [user("begin")], tuple[int, ...]()
    for number, text in enumerate(answers):
        prompt = known.prompt(SCOPE, messages, ())
        assert prompt.ids[: len(before)] == before
        assert prompt.how == ("new" if number == 0 else "extended")
        end = ENDS[template] if data.draw(st.booleans()) else None
        answer = sampled(text, end)
        known.remember(SCOPE, messages, prompt, answer, f"r/a/{number}")
        before = (*prompt.ids, *answer.sampled_ids)
        messages = [*messages, says(text), user("go on")]


def test_an_answer_that_was_cut_short_gets_the_end_that_the_template_writes() -> None:
    known = prompts(CHATML)
    asked = known.prompt(SCOPE, [user("q")], ())
    known.remember(SCOPE, [user("q")], asked, sampled("too lo", None), "r/a/1")
    prompt = known.prompt(SCOPE, [user("q"), says("too lo"), user("?")], ())
    assert decode(prompt.ids) == prompt.text
    assert "too lo<|im_end|>\n<|im_start|>user\n?" in prompt.text


def test_a_turn_of_tools_goes_on_from_the_call_as_it_was_sampled() -> None:
    known = prompts(QWEN)
    written = '<tool_call>{"name":"add",  "arguments":{"a":1}}</tool_call>'
    call = ToolCall(id="call_1", name="add", arguments='{"a":1}')
    asked = known.prompt(SCOPE, [user("q")], [ADD])
    answer = sampled("", ENDS[QWEN], call, said=written)
    known.remember(SCOPE, [user("q")], asked, answer, "r/a/1")
    # The client wrote the arguments anew, named the assistant and made ids of its own.
    came_back = replace(
        says("", ToolCall(id="x", name="add", arguments='{ "a": 1 }')), name="mathematician"
    )
    result = Message(role="tool", content="2", tool_call_id="x")
    prompt = known.prompt(SCOPE, [user("q"), came_back, result], [ADD])
    assert prompt.how == "extended"
    assert written in decode(prompt.ids)
    assert decode(prompt.ids).endswith(
        "<tool_response>\n2\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )


def test_parallel_results_follow_their_calls() -> None:
    known = prompts(CHATML)
    calls = [ToolCall(id=f"c{n}", name="add", arguments=json.dumps({"a": n})) for n in range(2)]
    asked = known.prompt(SCOPE, [user("q")], [ADD])
    known.remember(SCOPE, [user("q")], asked, sampled("x", 257, *calls, said="x<call>"), "r/a/1")
    results = [Message(role="tool", content=f"r{n}", tool_call_id=f"c{n}") for n in range(2)]
    prompt = known.prompt(SCOPE, [user("q"), says("x", *calls), *results], [ADD])
    assert prompt.how == "extended"
    assert "<result>r0</result>" in decode(prompt.ids)
    assert "<result>r1</result>" in decode(prompt.ids)


def test_a_template_that_writes_history_anew_begins_a_new_prefix() -> None:
    known = prompts(FORGETFUL)
    messages = [user("1")]
    for number in range(3):
        prompt = known.prompt(SCOPE, messages, ())
        known.remember(SCOPE, messages, prompt, sampled("x", 257), f"r/a/{number}")
        messages = [*messages, says("x"), user("2")]
    assert prompt.how == "rewritten"
    assert decode(prompt.ids) == prompt.text


def test_other_tools_begin_a_new_prefix() -> None:
    known = prompts(QWEN)
    asked = known.prompt(SCOPE, [user("q")], [ADD])
    known.remember(SCOPE, [user("q")], asked, sampled("x", 257), "r/a/1")
    prompt = known.prompt(SCOPE, [user("q"), says("x"), user("?")], ())
    assert prompt.how == "rewritten"


def test_what_a_stop_string_cut_off_is_not_brought_back() -> None:
    known = prompts(CHATML)
    asked = known.prompt(SCOPE, [user("q")], ())
    answer = replace(sampled("x", None, said="xSTOP"), finish_reason="stop", stop="STOP")
    known.remember(SCOPE, [user("q")], asked, answer, "r/a/1")
    prompt = known.prompt(SCOPE, [user("q"), says("x"), user("?")], ())
    assert prompt.how == "cut"
    assert "STOP" not in decode(prompt.ids)


def test_scopes_know_nothing_of_each_other() -> None:
    known = prompts(CHATML)
    asked = known.prompt(SCOPE, [user("q")], ())
    known.remember(SCOPE, [user("q")], asked, sampled("x", 257), "r/a/1")
    assert known.prompt("default/r/b", [user("q"), says("x"), user("?")], ()).how == "new"


def test_an_answer_that_the_client_changed_is_text() -> None:
    known = prompts(CHATML)
    asked = known.prompt(SCOPE, [user("q")], ())
    known.remember(SCOPE, [user("q")], asked, sampled("x", 257), "r/a/1")
    assert known.prompt(SCOPE, [user("q"), says("y"), user("?")], ()).how == "new"


def test_memory_is_bounded_and_the_least_used_goes_first() -> None:
    known = prompts(CHATML, max_bytes=2_000)
    for number in range(50):
        messages = [user(f"question {number}")]
        asked = known.prompt(SCOPE, messages, ())
        known.remember(SCOPE, messages, asked, sampled("x", 257), f"r/a/{number}")
    assert 1 <= len(known) <= 4
    last = [user("question 49"), says("x"), user("?")]
    assert known.prompt(SCOPE, last, ()).how == "extended"
    assert known.prompt(SCOPE, [user("question 0"), says("x"), user("?")], ()).how == "new"


def test_without_memory_every_prompt_is_cut_anew() -> None:
    known = prompts(CHATML, max_bytes=0)
    asked: Prompt = known.prompt(SCOPE, [user("q")], ())
    known.remember(SCOPE, [user("q")], asked, sampled("x", 257), "r/a/1")
    assert known.prompt(SCOPE, [user("q"), says("x"), user("?")], ()).how == "new"


def test_messages_that_the_template_refuses_are_a_bad_request() -> None:
    with pytest.raises(BadRequest, match="refused"):
        prompts(CHATML).prompt(SCOPE, [user("refuse me")], ())
