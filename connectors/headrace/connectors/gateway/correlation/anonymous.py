"""The episode of a call that says of none: that of the conversation it goes on with, or a new one.

Pure, but for the ids that are drawn.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from headrace.connectors.gateway.conversation import Choice, Message
from headrace.connectors.gateway.conversation.chain import chain, digest
from headrace.connectors.gateway.correlation.conversations import (
    Conversation,
    Conversations,
    How,
)
from headrace.connectors.gateway.correlation.place import Correlation

_CALL_ID = re.compile(r"call_([0-9a-f]{16})[0-9a-f]+", re.ASCII)
"""As the gateway names calls of tools: by the span of the answer that makes them."""


class Anonymous:
    """One anonymous call: `place` before it is asked, `answered` after."""

    def __init__(
        self,
        known: Conversations,
        correlation: Correlation,
        messages: tuple[Message, ...],
        previous: str,
    ) -> None:
        """previous: the span of the answer that the request names to go on from; '': none."""
        self._known, self._correlation = known, correlation
        self._client = f"{correlation.project}\n{correlation.client.identity}"
        self._messages = messages
        self._previous = previous
        self._conversation: Conversation | None = None

    def place(self, now: float) -> tuple[Correlation, How]:
        """Where the call belongs, and why."""
        own = self._correlation
        found, how = self._known.find(self._keys(), now)
        self._conversation = found or Conversation(own.rollout_id, own.attempt, now)
        place = replace(
            own,
            rollout_id=self._conversation.rollout_id,
            attempt=self._conversation.attempt,
        )
        return place, how

    def answered(self, answers: Iterable[tuple[str, Choice]], now: float) -> None:
        """Remember the answers, each by the span of its choice."""
        assert self._conversation is not None
        keys: list[bytes] = []
        for span_id, choice in answers:
            said = Message(role="assistant", content=choice.text, tool_calls=choice.tool_calls)
            *_, key = chain(self._client, [*self._messages, said])
            keys += [key, self._named(span_id)]
        self._known.answered(self._conversation, keys, now)

    def _keys(self) -> Iterator[bytes]:
        """Of the answers that the call names, then of those that it repeats; the latest first."""
        if self._previous:
            yield self._named(self._previous)
        for message in reversed(self._messages):
            ids = [message.tool_call_id, *(call.id for call in message.tool_calls)]
            yield from (self._named(call[1]) for one in ids if (call := _CALL_ID.fullmatch(one)))
        keys = list(chain(self._client, self._messages))
        for message, key in zip(reversed(self._messages), reversed(keys), strict=True):
            if message.role == "assistant":
                yield key

    def _named(self, span_id: str) -> bytes:
        return digest(f"{self._client}\n{span_id}".encode())
