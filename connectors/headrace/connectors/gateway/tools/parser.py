"""Calls read from what a model says, whole or while it grows. Pure and total.

What is no call stays text; what begins as one and is none stays text too, and is counted.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass

from headrace.connectors.gateway.conversation import AnswerEvent, TextGrew, ToolCall, ToolCallGrew
from headrace.connectors.gateway.tools.bodies import Malformed, RawCall, read_calls
from headrace.connectors.gateway.tools.formats import ToolFormat

_SPACE = string.whitespace


@dataclass(kw_only=True, slots=True, frozen=True)
class Parsed:
    """What a reply says and what it calls."""

    text: str
    calls: tuple[ToolCall, ...]
    malformed: tuple[str, ...] = ()
    """Why what should have been calls were none."""
    left_out: int = 0
    """Calls beyond what the client wants at once."""


class ReplyParser:
    """Turns the text of one reply into events.

    Space around calls is no text. The events, one after the other, say what `parsed()` says.
    """

    def __init__(
        self, form: ToolFormat, *, choice: int, call_id: Callable[[int], str], most: int = 0
    ) -> None:
        """call_id: the id of a call by its index; most: calls that are returned, 0: all."""
        self._most, self._left_out = most, 0
        self._form, self._choice, self._call_id = form, choice, call_id
        self._text: list[str] = []
        self._calls: list[ToolCall] = []
        self._malformed: list[str] = []
        self._held = ""
        """Text that may be, or is, part of a call."""
        self._inside = False
        self._searched = 0
        """How far an open call was looked through for its end."""
        self._space = ""
        """Space that is text only if more text follows."""
        self._has_text = False

    def feed(self, text: str) -> list[AnswerEvent]:
        """What more text means."""
        self._held += text
        return self._delimited() if self._form.closing else self._leading()

    def end(self) -> list[AnswerEvent]:
        """What is left means, now that nothing follows."""
        held, self._held = self._held, ""
        if not self._form.closing:
            events = self._end_leading(held)
        elif self._inside:
            # Models that are cut short, or forget the end, may have written a whole call.
            events = self._call(held, self._form.opening + held)
        else:
            events = self._say(held)
        return [*events, *self._last_space()]

    def parsed(self) -> Parsed:
        """All of it, after `end`."""
        return Parsed(
            text="".join(self._text),
            calls=tuple(self._calls),
            malformed=tuple(self._malformed),
            left_out=self._left_out,
        )

    def _delimited(self) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        while True:
            mark = self._form.closing if self._inside else self._form.opening
            at = self._closing_at() if self._inside else self._held.find(mark)
            if at < 0:
                break
            part, self._held = self._held[:at], self._held[at + len(mark) :]
            if self._inside:
                whole = self._form.opening + part + self._form.closing
                events += self._call(part, whole)
            else:
                events += self._say(part)
            self._inside, self._searched = not self._inside, 0
        if not self._inside:
            kept = _overlap(self._held, self._form.opening)
            said = self._held[: len(self._held) - kept]
            self._held = self._held[len(said) :]
            events += self._say(said)
        return events

    def _closing_at(self) -> int:
        """Where the call that is open ends: at the first closing after which it can be read."""
        first = self._held.find(self._form.closing)
        at = self._held.find(self._form.closing, self._searched)
        while at >= 0:
            try:
                read_calls(self._held[:at], self._form)
            except Malformed:
                self._searched = at + 1
                at = self._held.find(self._form.closing, at + 1)
            else:
                return at
        # Inside a string there may be a closing; else the first one ends what is malformed.
        return first if first >= 0 and _strings_closed(self._held[:first]) else -1

    def _leading(self) -> list[AnswerEvent]:
        if self._has_text or not self._begins_calls():
            held, self._held = self._held, ""
            return self._say(held)
        return []

    def _begins_calls(self) -> bool:
        begun = self._held.lstrip(_SPACE)
        if (
            not begun
            or begun.startswith(self._form.opening)
            or self._form.opening.startswith(begun)
        ):
            return True
        return begun[0] == "[" if self._form.body == "python" else begun[0] in "[{"

    def _end_leading(self, held: str) -> list[AnswerEvent]:
        begun = held.strip(_SPACE)
        if not begun:
            return self._say(held)
        had_opening = begun.startswith(self._form.opening)
        body = begun.removeprefix(self._form.opening)
        try:
            calls = read_calls(body, self._form)
        except Malformed as error:
            if had_opening or '"name"' in begun:
                self._malformed.append(str(error))
            return self._say(held)
        return [event for call in calls for event in self._called(call)]

    def _call(self, body: str, whole: str) -> list[AnswerEvent]:
        try:
            calls = read_calls(body, self._form)
        except Malformed as error:
            self._malformed.append(str(error))
            return self._say(whole)
        return [event for call in calls for event in self._called(call)]

    def _called(self, call: RawCall) -> list[AnswerEvent]:
        index = len(self._calls)
        self._space = ""
        if index == self._most > 0:
            self._left_out += 1
            return []
        made = ToolCall(id=self._call_id(index), name=call.name, arguments=call.arguments)
        self._calls.append(made)
        named = ToolCallGrew(choice=self._choice, index=index, id=made.id, name=made.name)
        grown = ToolCallGrew(choice=self._choice, index=index, arguments=made.arguments)
        return [named, grown]

    def _say(self, text: str) -> list[AnswerEvent]:
        said = self._space + text
        kept = said.rstrip(_SPACE)
        self._space = said[len(kept) :]
        if not self._has_text and self._calls:
            kept = kept.lstrip(_SPACE)
        if not kept:
            return []
        self._has_text = True
        self._text.append(kept)
        return [TextGrew(choice=self._choice, text=kept)]

    def _last_space(self) -> list[AnswerEvent]:
        space, self._space = self._space, ""
        if self._calls or not space:
            return []
        self._text.append(space)
        return [TextGrew(choice=self._choice, text=space)]


def parse(text: str, form: ToolFormat, *, call_id: Callable[[int], str] = str) -> Parsed:
    """A whole reply."""
    parser = ReplyParser(form, choice=0, call_id=call_id)
    parser.feed(text)
    parser.end()
    return parser.parsed()


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of a text may begin the mark."""
    for size in range(min(len(text), len(mark) - 1), 0, -1):
        if mark.startswith(text[-size:]):
            return size
    return 0


def _strings_closed(text: str) -> bool:
    inside = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = inside
        elif character == '"':
            inside = not inside
    return not inside
