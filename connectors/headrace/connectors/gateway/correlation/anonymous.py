"""The episode of a call that says of none: that of the conversation it goes on with, or a new one.

Pure, but for the ids that are drawn.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from headrace.connectors.gateway.conversation import Message
from headrace.connectors.gateway.conversation.chain import chain, digest
from headrace.connectors.gateway.correlation.conversations import (
    Conversation,
    Conversations,
    How,
)
from headrace.connectors.gateway.correlation.place import Correlation

_CALL_ID = re.compile(r"call_([0-9a-f]{16})[0-9a-f]+", re.ASCII)
"""As the gateway names calls of tools: by the span of the answer that makes them."""


def ids_named(said: Sequence[Message], previous: str) -> Iterator[str]:
    """Ids of earlier answers and their calls of tools that a request names, the latest first.

    Args:
        said: the conversation that it repeats.
        previous: the answer that it names to go on from; empty: none.
    """
    if previous:
        yield previous
    for message in reversed(said):
        yield from filter(None, (message.tool_call_id, *(call.id for call in message.tool_calls)))


def spans_named(said: Sequence[Message], previous: str) -> Iterator[str]:
    """The spans of our answers among `ids_named`; `previous` is one."""
    for one in ids_named(said, previous):
        if one == previous:
            yield one
        elif call := _CALL_ID.fullmatch(one):
            yield call[1]


class Anonymous:
    """One anonymous call: `place` before it is asked, `answered` after."""

    def __init__(
        self,
        known: Conversations,
        correlation: Correlation,
        messages: tuple[Message, ...],
        named: Iterable[str],
    ) -> None:
        """named: what the request names of earlier answers; the latest first."""
        self._known, self._correlation = known, correlation
        self._client = f"{correlation.project}\n{correlation.client.identity}"
        self._messages = messages
        self._named = tuple(named)
        self._conversation: Conversation | None = None

    def place(self, now: float) -> tuple[Correlation, How]:
        """Where the call belongs, and why."""
        own = self._correlation
        found, how = self._known.find(map(self._key_of, self._named), now)
        if how in (How.NEW, How.AMBIGUOUS):
            # Upstreams give the ids of tool calls again: what was said may tell them apart.
            repeated, why = self._known.find(self._repeated(), now)
            if repeated is not None or how is How.NEW:
                found, how = repeated, why
        self._conversation = found or Conversation(own.rollout_id, own.attempt, now)
        place = replace(
            own,
            rollout_id=self._conversation.rollout_id,
            attempt=self._conversation.attempt,
        )
        return place, how

    def answered(self, answers: Iterable[tuple[Message, Iterable[str]]], now: float) -> None:
        """Remember the answers, each with what a later request may name of it."""
        assert self._conversation is not None
        keys: list[bytes] = []
        for said, names in answers:
            *_, key = chain(self._client, [*self._messages, said])
            keys += [key, *map(self._key_of, names)]
        self._known.answered(self._conversation, keys, now)

    def _repeated(self) -> Iterator[bytes]:
        """Keys of the answers that the call repeats, the latest first."""
        keys = list(chain(self._client, self._messages))
        for message, key in zip(reversed(self._messages), reversed(keys), strict=True):
            if message.role == "assistant":
                yield key

    def _key_of(self, name: str) -> bytes:
        return digest(f"{self._client}\n{name}".encode(errors="replace"))
