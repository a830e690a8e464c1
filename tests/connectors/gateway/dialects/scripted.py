"""Answers of a script, whole and as they grow, and the official clients in front of bytes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import anthropic
import httpx2
import openai
from hypothesis import strategies as st

from headrace.connectors.gateway.conversation import (
    Answer,
    AnswerEvent,
    Choice,
    ChoiceEnded,
    TextGrew,
    TokenFact,
    ToolCall,
    ToolCallGrew,
    Usage,
)
from headrace.connectors.gateway.conversation.answer import FinishReason
from headrace.connectors.gateway.dialects.base import Head
from headrace.connectors.gateway.dialects.sse import Sse

HEAD = Head(id="id-1", model="calc", created=1_700_000_000)


@dataclass(kw_only=True, frozen=True)
class Scripted:
    """An answer and the events that led to it."""

    answer: Answer
    events: tuple[AnswerEvent, ...]


def answer_of(*choices: Choice, identity: str = "id-1") -> Answer:
    return Answer(
        id=identity,
        model="calc",
        created=1_700_000_000,
        choices=choices,
        usage=Usage(prompt=7, completion=5, cached=3),
        fingerprint="calc@2",
    )


def scripted(
    texts: Sequence[str] = (),
    calls: Sequence[tuple[str, Sequence[str]]] = (),
    *,
    finish_reason: FinishReason | None = None,
    stop: str | None = None,
    identity: str = "id-1",
) -> Scripted:
    """One choice: text in pieces, then calls, each a name and the pieces of its arguments."""
    ended: FinishReason = finish_reason or ("tool_calls" if calls else "stop")
    events: list[AnswerEvent] = [TextGrew(choice=0, text=text) for text in texts]
    for i, (name, pieces) in enumerate(calls):
        events.append(ToolCallGrew(choice=0, index=i, id=f"call_{i}", name=name))
        events += [ToolCallGrew(choice=0, index=i, arguments=piece) for piece in pieces]
    events.append(ChoiceEnded(choice=0, finish_reason=ended))
    choice = Choice(
        index=0,
        text="".join(texts),
        tool_calls=tuple(
            ToolCall(id=f"call_{i}", name=name, arguments="".join(pieces))
            for i, (name, pieces) in enumerate(calls)
        ),
        finish_reason=ended,
        stop=stop,
    )
    return Scripted(answer=answer_of(choice, identity=identity), events=tuple(events))


def token(raw: bytes, logprob: float = -0.5) -> TokenFact:
    return TokenFact(id=raw[0], raw=raw, logprob=logprob, top=((raw[0], raw, logprob),))


_names = st.text("abcdefgh_", min_size=1, max_size=8)
_scalars = st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=6)
_objects = st.dictionaries(
    st.text(max_size=4), _scalars | st.lists(_scalars, max_size=2), max_size=3
)


@st.composite
def _pieces(draw: st.DrawFn, whole: str) -> tuple[str, ...]:
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=4)) | {0, len(whole)})
    return tuple(whole[a:b] for a, b in pairwise(cuts))


@st.composite
def answers(draw: st.DrawFn) -> Scripted:
    """Any answer of one choice, with text, calls, both or neither."""
    texts = draw(_pieces(draw(st.text(max_size=20))))
    calls = []
    for _ in range(draw(st.integers(0, 3))):
        arguments = json.dumps(draw(_objects), ensure_ascii=draw(st.booleans()))
        calls.append((draw(_names), draw(_pieces(arguments))))
    if calls:
        return scripted(texts, calls)
    ended: FinishReason = draw(st.sampled_from(["stop", "length"]))
    stop = draw(st.none() | st.just("END")) if ended == "stop" else None
    return scripted(texts, finish_reason=ended, stop=stop)


def wire(events: Sequence[Sse]) -> bytes:
    return b"".join(event.encode() for event in events)


def told(events: Sequence[Sse]) -> list[Any]:
    """What a reader of the stream sees, without a client."""
    seen = []
    for block in wire(events).decode().split("\n\n")[:-1]:
        data = block.partition("data: ")[2]
        seen.append(data if data == "[DONE]" else json.loads(data))
    return seen


def _answering(body: bytes, content_type: str, status: int) -> httpx2.Client:
    def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, content=body, headers={"content-type": content_type})

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai_client(
    body: bytes, content_type: str = "text/event-stream", status: int = 200
) -> openai.OpenAI:
    """The official client of a server that answers these bytes to everything."""
    http = _answering(body, content_type, status)
    return openai.OpenAI(
        api_key="k", base_url="http://localhost/v1", http_client=http, max_retries=0
    )


def anthropic_client(
    body: bytes, content_type: str = "text/event-stream", status: int = 200
) -> anthropic.Anthropic:
    """The official client of a server that answers these bytes to everything."""
    http = _answering(body, content_type, status)
    return anthropic.Anthropic(
        api_key="k", base_url="http://localhost", http_client=http, max_retries=0
    )
