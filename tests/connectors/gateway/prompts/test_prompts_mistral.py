"""Mistral's templates: ids of nine characters, and a space before an answer."""

import json

from headrace.connectors.gateway.conversation import Choice, Message, Tool, ToolCall
from headrace.connectors.gateway.prompts import Prompts, Rendering
from tests.connectors.gateway.prompts.templates import END, MISTRAL, decode, engine

SCOPE = "default/r/a"
ADD = Tool(name="add", parameters={"type": "object"})
CALL = ToolCall(id="call_0123456789abcdef0", name="add", arguments='{"a": 2}')
RESULT = Message(role="tool", content="5", tool_call_id=CALL.id)
WRITTEN = '[TOOL_CALLS] [{"name":"add", "arguments":{"a":2}}]'


def user(text: str) -> Message:
    return Message(role="user", content=text)


def says(text: str, *calls: ToolCall) -> Message:
    return Message(role="assistant", content=text, tool_calls=calls)


def sampled(written: str, said: str = "", *calls: ToolCall) -> Choice:
    ids = (*written.encode(), END["</s>"])
    return Choice(index=0, text=said, tool_calls=calls, finish_reason="stop", sampled_ids=ids)


def prompts() -> Prompts:
    return Prompts(Rendering(engine(MISTRAL)), max_bytes=1 << 20)


def test_a_result_goes_on_from_the_call_and_names_it_by_nine_characters() -> None:
    known, first = prompts(), [user("2 + 3?")]
    asked = known.prompt(SCOPE, first, [ADD])
    answer = sampled(WRITTEN, "", CALL)
    known.remember(SCOPE, first, asked, answer, "r/a/1")
    messages = [*first, says("", CALL), RESULT]
    prompt = known.prompt(SCOPE, messages, [ADD])
    before = (*asked.ids, *answer.sampled_ids)
    assert (prompt.how, prompt.ids[: len(before)]) == ("extended", before)
    tail = decode(prompt.ids[len(before) :])
    shown = json.loads(tail.removeprefix("[TOOL_RESULTS] ").removesuffix("[/TOOL_RESULTS]"))
    assert shown["content"] == "5"
    assert len(shown["call_id"]) == 9
    assert f'"id": "{shown["call_id"]}"' in prompt.text


def test_ids_of_nine_characters_stay() -> None:
    call = ToolCall(id="AbC123xyZ", name="add", arguments="{}")
    text = Rendering(engine(MISTRAL)).text([user("?"), says("", call)], [ADD])
    assert '"id": "AbC123xyZ"' in text


def test_an_answer_before_which_the_template_puts_a_space_is_its_tokens_again() -> None:
    known, first = prompts(), [user("a question")]
    asked = known.prompt(SCOPE, first, ())
    answer = sampled("abba", "abba")
    known.remember(SCOPE, first, asked, answer, "r/a/1")
    prompt = known.prompt(SCOPE, [*first, says("abba"), user("and now?")], ())
    assert prompt.how == "extended"
    assert prompt.ids == (*asked.ids, *answer.sampled_ids, *b"[INST] and now?[/INST]")


def test_a_template_that_refuses_the_marked_answer_makes_a_new_prompt() -> None:
    known, first = prompts(), [user("2 + 3?")]
    asked = known.prompt(SCOPE, first, [ADD])
    known.remember(SCOPE, first, asked, sampled(WRITTEN, "", CALL), "r/a/1")
    messages = [*first, says("", CALL), RESULT, says("written by the client"), user("sure?")]
    prompt = known.prompt(SCOPE, messages, [ADD])
    assert prompt.how == "rewritten"
    assert decode(prompt.ids) == prompt.text
