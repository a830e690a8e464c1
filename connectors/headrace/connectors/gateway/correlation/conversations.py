"""Which conversation a call goes on with, for clients that say of no call where it belongs. Pure.

A call goes on with a conversation if it repeats what was asked and answered in it, or names an
answer of it. What is repeated may be equal in two conversations: then nobody can tell which is
meant, and the call begins one of its own, so that two are never merged.

Time is the caller's, in seconds of any clock that never goes back.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

REMEMBERED = 10.0
"""How many idle limits a conversation is remembered: one that may be taken up no more can still be
the one that is meant."""
MOST = 64
"""Equal conversations that are told apart; of more it is only known that there are several."""
_KEY_BYTES, _ENTRY_BYTES = 200, 120  # of a key, and of a conversation under it, about


class How(StrEnum):
    """How a call found its conversation."""

    NEW = "new"
    """It goes on with none."""
    EXTENDED = "extended"
    """It goes on with one."""
    IDLE = "idle"
    """It goes on with one that was idle for too long: a new one."""
    AMBIGUOUS = "ambiguous"
    """It may go on with several that are equal so far: a new one."""


@dataclass(slots=True, eq=False)
class Conversation:
    """One conversation: an episode."""

    rollout_id: str
    attempt: str
    last: float
    """When it was last heard of."""


@dataclass(slots=True)
class _Answer:
    """An answer, and the conversations that have it."""

    of: dict[Conversation, None] = field(default_factory=dict)
    left_out: float = -math.inf
    """When one of them was left out for the last time: there were too many."""


class Conversations:
    """The conversations of one gateway, by what was said in them; in bounded memory.

    The key of an answer stands for all that was said up to it by one client, or for its id.
    """

    def __init__(self, *, idle_s: float, max_bytes: int) -> None:
        self._idle_s, self._max_bytes = idle_s, max_bytes
        self._bytes = 0
        self._known: OrderedDict[bytes, _Answer] = OrderedDict()

    @property
    def size(self) -> int:
        """Bytes of all that is remembered, about."""
        return self._bytes

    def find(self, keys: Iterable[bytes], now: float) -> tuple[Conversation | None, How]:
        """The conversation that a call goes on with, if there is one.

        keys: of the answers that the call repeats or names, the one that tells most first.
        """
        for key in keys:
            answer = self._known.get(key)
            found = self._remembered(answer, now) if answer else []
            if answer is None or not found:
                continue
            self._known.move_to_end(key)
            if len(found) > 1 or self._is_remembered(answer.left_out, now):
                return None, How.AMBIGUOUS
            if now - found[0].last > self._idle_s:
                return None, How.IDLE
            found[0].last = now
            return found[0], How.EXTENDED
        return None, How.NEW

    def answered(self, conversation: Conversation, keys: Iterable[bytes], now: float) -> None:
        """Remember an answer by its keys."""
        conversation.last = now
        for key in keys:
            if (answer := self._known.get(key)) is None:
                answer = self._known[key] = _Answer()
                self._bytes += _KEY_BYTES
            if conversation not in answer.of:
                answer.of[conversation] = None
                self._bytes += _ENTRY_BYTES
            if len(answer.of) > MOST:
                self._forget(answer, next(iter(answer.of)))
                answer.left_out = now
            self._known.move_to_end(key)
        while self._bytes > self._max_bytes:
            _, answer = self._known.popitem(last=False)
            self._bytes -= _KEY_BYTES + len(answer.of) * _ENTRY_BYTES

    def _remembered(self, answer: _Answer, now: float) -> list[Conversation]:
        for one in [one for one in answer.of if not self._is_remembered(one.last, now)]:
            self._forget(answer, one)
        return list(answer.of)

    def _is_remembered(self, last: float, now: float) -> bool:
        return now - last <= REMEMBERED * self._idle_s

    def _forget(self, answer: _Answer, conversation: Conversation) -> None:
        del answer.of[conversation]
        self._bytes -= _ENTRY_BYTES
