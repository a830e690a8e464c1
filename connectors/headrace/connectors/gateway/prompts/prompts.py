"""Prompts that go on from what was sampled. Pure, with bounded memory."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from headrace.connectors.gateway.conversation import Choice, Message, Tool
from headrace.connectors.gateway.conversation.chain import chain, digest
from headrace.connectors.gateway.errors import BadRequest
from headrace.connectors.gateway.prompts.rendering import Rendering

How = Literal["new", "extended", "rewritten", "cut"]
Ids = npt.NDArray[np.uint32]

# In place of an answer, to find where a template puts it. No text of a conversation may hold it:
# it is of the private use area, and longer than chance.
SENTINEL = "\ue000headrace-answer\ue001"
_ENTRY_BYTES = 400
"""Of an entry beside its tokens, about."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Prompt:
    """Tokens of a prompt, and how they were made."""

    ids: tuple[int, ...]
    how: How
    """new: no earlier answer in it is known. extended: it begins with the tokens of an earlier
    prompt and its answer. rewritten: the template writes the earlier conversation differently now.
    cut: the client did not get all that was sampled (a stop string ended it, or only the first of
    several calls was wanted)."""
    text: str
    """As the template writes it."""
    extends: str = ""
    """The call whose tokens it goes on from."""


@dataclass(kw_only=True, slots=True, frozen=True)
class _Answered:
    """A conversation up to an answer, as tokens."""

    ids: Ids
    """Prompt and answer."""
    text: bytes
    """Digest of the prompt's text."""
    length: int
    """Of the prompt's text, in characters."""
    call: str
    is_cut: bool


class Prompts:
    """Makes prompts, and remembers answers to go on from; those used longest ago go first.

    Any thread may ask.

    A scope keeps conversations apart that must not know of each other.
    """

    def __init__(self, rendering: Rendering, *, max_bytes: int) -> None:
        self._rendering = rendering
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[bytes, _Answered] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._known)

    def prompt(self, scope: str, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """The prompt of a conversation; raises BadRequest."""
        text = self._rendering.text(messages, tools)
        found = self._last_answer(scope, messages)
        if found is None:
            return Prompt(ids=self._rendering.encode(text), how="new", text=text)
        at, answered = found
        tail = None if answered.is_cut else self._tail(messages, tools, at, answered)
        if tail is None:
            how: How = "cut" if answered.is_cut else "rewritten"
            return Prompt(ids=self._rendering.encode(text), how=how, text=text)
        ids = (*answered.ids.tolist(), *tail)
        return Prompt(ids=ids, how="extended", text=text, extends=answered.call)

    def remember(
        self, scope: str, messages: Sequence[Message], prompt: Prompt, choice: Choice, call: str
    ) -> None:
        """Keep an answer, so that the client's next request can go on from its tokens."""
        answer = Message(role="assistant", content=choice.text, tool_calls=choice.tool_calls)
        *_, key = chain(scope, [*messages, answer])
        ids = np.asarray((*prompt.ids, *choice.sampled_ids), dtype=np.uint32)
        if ids.nbytes + _ENTRY_BYTES > self._max_bytes:
            return
        with self._lock:
            self._drop(key)
            self._known[key] = _Answered(
                ids=ids,
                text=digest(prompt.text.encode()),
                length=len(prompt.text),
                call=call,
                is_cut=choice.stop is not None or choice.left_out > 0,
            )
            self._bytes += ids.nbytes + _ENTRY_BYTES
            while self._bytes > self._max_bytes:
                self._drop(next(iter(self._known)))

    def _last_answer(self, scope: str, messages: Sequence[Message]) -> tuple[int, _Answered] | None:
        """The last message that is an answer of ours, and what is known of it."""
        keys = list(chain(scope, messages))
        with self._lock:
            for at in range(len(messages) - 1, -1, -1):
                if messages[at].role == "assistant" and keys[at] in self._known:
                    self._known.move_to_end(keys[at])
                    return at, self._known[keys[at]]
        return None

    def _tail(
        self, messages: Sequence[Message], tools: Sequence[Tool], at: int, answered: _Answered
    ) -> tuple[int, ...] | None:
        """Tokens that follow the answer; None where the template changes what precedes it."""
        marked = [*messages]
        marked[at] = replace(messages[at], content=SENTINEL, tool_calls=())
        try:
            text = self._rendering.text(marked, tools)
        except BadRequest:  # some templates count answers without calls, and refuse one more
            return None
        before, sentinel, after = text.partition(SENTINEL)
        if not sentinel or SENTINEL in after or not _goes_on(before, answered):
            return None
        tail = self._rendering.encode(after)
        last = int(answered.ids[-1]) if len(answered.ids) else -1
        # The answer's own end token was sampled; the template writes one, too.
        if tail and last in self._rendering.end_ids and tail[0] == last:
            return tail[1:]
        return tail

    def _drop(self, key: bytes) -> None:
        if (known := self._known.pop(key, None)) is not None:
            self._bytes -= known.ids.nbytes + _ENTRY_BYTES


def _goes_on(before: str, answered: _Answered) -> bool:
    """Whether what precedes an answer is its prompt; Mistral's templates add a space, which the
    model sampled or did not."""
    prompt, space = before[: answered.length], before[answered.length :]
    return not space.strip() and digest(prompt.encode()) == answered.text
