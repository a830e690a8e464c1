"""Calls told as a conversation."""

from typing import Any

from headrace.infra.console.transcript import turns


def span(agent: str, *texts: str) -> dict[str, Any]:
    return {"agent": agent, "messages": [("user", text, len(text)) for text in texts]}


def test_a_call_tells_only_what_the_one_before_did_not() -> None:
    first, second, other = turns([span("a", "x"), span("a", "x", "y"), span("b", "x")])
    assert [one.text for one in first.said] == ["x"]
    assert [one.text for one in second.said] == ["y"]
    assert second.repeated == 1
    assert (other.repeated, len(other.said)) == (0, 1)  # another agent's conversation


def test_a_conversation_that_was_changed_is_told_from_the_change_on() -> None:
    _, changed = turns([span("a", "x", "y", "z"), span("a", "x", "Y", "z")])
    assert [one.text for one in changed.said] == ["Y", "z"]


def test_what_lies_between_two_calls_breaks_nothing() -> None:
    made = turns([span("a", "x"), span("a"), span("a", "x", "y")])
    assert [one.repeated for one in made] == [0, 0, 1]
