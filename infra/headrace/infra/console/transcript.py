"""Calls as a conversation: what is new in each, and nothing twice."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True, slots=True, frozen=True)
class Said:
    """A message: its role, its text as far as it was fetched, and how long it is in characters."""

    role: str
    text: str
    characters: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Turn:
    """A span in the transcript: the messages that no earlier call of its agent held."""

    span: Mapping[str, Any]
    said: tuple[Said, ...]
    repeated: int
    """Messages left out, as they stood in an earlier call."""


def turns(spans: Iterable[Mapping[str, Any]]) -> list[Turn]:
    """The spans of an episode in their order. `messages` of a call: (role, text, characters)."""
    earlier: dict[str, Sequence[Any]] = {}
    made = []
    for span in spans:
        messages = [tuple(one) for one in span["messages"]]
        agent = str(span["agent"])
        repeated = _shared(messages, earlier.get(agent, ()))
        if messages:
            earlier[agent] = messages
        said = tuple(
            Said(role=str(role) or "message", text=str(text), characters=int(characters))
            for role, text, characters in messages[repeated:]
        )
        made.append(Turn(span=span, said=said, repeated=repeated))
    return made


def _shared(messages: Sequence[Any], before: Sequence[Any]) -> int:
    shared = 0
    for one, other in zip(messages, before, strict=False):
        if one != other:
            break
        shared += 1
    return shared
