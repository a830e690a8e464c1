"""What an answer says, whole and while it grows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.connectors.gateway.conversation.messages import ToolCall

FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(kw_only=True, slots=True, frozen=True)
class TokenFact:
    """A token of an answer, for clients that ask for log-probabilities."""

    id: int
    raw: bytes
    """The bytes it stands for."""
    logprob: float
    top: tuple[tuple[int, bytes, float], ...] = ()
    """Id, bytes and log-probability of the most probable tokens of its position, descending."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Usage:
    """Tokens read and sampled."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    """Prompt tokens that were not computed again."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Choice:
    """One completion."""

    index: int
    text: str
    """What it says beside its tool calls."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason
    stop: str | None = None
    """The stop string that ended it."""
    left_out: int = 0
    """Calls of tools that were sampled and not told: the client wants one at a time."""
    tokens: tuple[TokenFact, ...] = ()
    """Where the request asked for log-probabilities."""
    prompt_ids: tuple[int, ...] = ()
    sampled_ids: tuple[int, ...] = ()


@dataclass(kw_only=True, slots=True, frozen=True)
class Answer:
    """A whole answer."""

    id: str
    """The response id, which names the span of the first choice."""
    model: str
    """As the client named it."""
    created: int
    """Seconds since the epoch."""
    choices: tuple[Choice, ...]
    usage: Usage
    fingerprint: str | None = None
    """`policy@version` that sampled its last token."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What headrace says of it beside: rollout, policy, versions, whether it is trainable."""


@dataclass(kw_only=True, slots=True, frozen=True)
class TextGrew:
    """A choice says more."""

    choice: int
    text: str
    """May be empty, where only tokens came."""
    tokens: tuple[TokenFact, ...] = ()


@dataclass(kw_only=True, slots=True, frozen=True)
class ToolCallGrew:
    """A choice calls a tool: its first event has id and name, the others more arguments."""

    choice: int
    index: int
    """Which call of the choice."""
    id: str = ""
    name: str = ""
    arguments: str = ""
    """What the JSON of its arguments grew by."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ChoiceEnded:
    """A choice is whole."""

    choice: int
    finish_reason: FinishReason


AnswerEvent = TextGrew | ToolCallGrew | ChoiceEnded
"""All events of a choice, one after the other, say what its `Choice` says."""


def joined(events: Iterable[AnswerEvent]) -> list[AnswerEvent]:
    """The same events with text that follows text of its choice in one: fewer to send."""
    made: list[AnswerEvent] = []
    pieces: list[TextGrew] = []

    def close() -> None:
        if pieces:
            text = "".join(one.text for one in pieces)
            tokens = tuple(token for one in pieces for token in one.tokens)
            made.append(TextGrew(choice=pieces[0].choice, text=text, tokens=tokens))
            pieces.clear()

    for event in events:
        if not isinstance(event, TextGrew):
            close()
            made.append(event)
            continue
        if pieces and pieces[0].choice != event.choice:
            close()
        pieces.append(event)
    close()
    return made
