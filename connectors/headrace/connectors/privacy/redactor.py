"""Finds what is to be redacted in texts, and puts a mark or a pseudonym in its place.

Expressions run on RE2, whose time is linear in the text whatever expression and text are
(https://swtch.com/~rsc/regexp/regexp3.html); checks look at a bounded piece of it.
"""

import hmac
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

from headrace.connectors.privacy.builtin import BUILTIN, NAME, Found, Pattern
from headrace.connectors.privacy.escapes import is_json, levels, rewritten, unescaped

_LETTERS = bytes.maketrans(b"0123456789abcdef", b"abcdefghijklmnop")
_PSEUDONYM = 20  # letters, of 4 bits each
_ANCHORS = ("^", "$", r"\A", r"\z", r"\B")
_MOST = 20_000  # places in one text that a pattern is tried at: seconds, if there were more
TOO_MANY = "[redacted]"
"""What replaces a text that holds more than can be looked at."""


_UUID = r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b"
"""RFC 9562: of some thousand random ones, one looks like a telephone number."""


class _TooMany(Exception):
    """A text is not worth looking at further."""


class _Compiled(NamedTuple):
    name: str
    pattern: Pattern
    expression: Any
    group: int


class Redactor:
    """Redacts texts. Safe to share between threads.

    Example: `Redactor(["email"]).text("to a@b.org") == "to [email]"`.
    """

    def __init__(
        self, names: Sequence[str] = (), patterns: Sequence[str] = (), key: str = ""
    ) -> None:
        """names: of built-in patterns, or `all`; patterns: `name=expression`; key: of pseudonyms,
        empty: marks. What of it cannot be raises ValueError."""
        chosen = [name for name in BUILTIN if "all" in names or name in names]
        named = [(name, BUILTIN[name]) for name in chosen] + list(map(_own, patterns))
        self._key = key.encode()
        self._patterns = [_compiled(name, pattern) for name, pattern in named]
        self._any = _compile("|".join(f"(?:{one.expression.pattern})" for one in self._patterns))
        # An expression with an anchor may fit a string of JSON and not the text around it.
        own = "".join(patterns)
        self._is_anchored = any(anchor in own for anchor in _ANCHORS)
        marks = "|".join(sorted({name for name, _ in named}))
        self._mark = _compile(rf"\[(?:{marks})(?::[a-p]{{{_PSEUDONYM}}})?\]")
        self._uuid = _compile(_UUID)

    def text(self, text: str) -> str:
        """The text with all that is found replaced; the very same object where nothing is.

        JSON stays JSON: strings in it are looked at without their escapes, numbers become marks.
        """
        data = text.encode()
        if not self._may_hold(data):
            return text
        if is_json(text):
            try:
                return rewritten(text, self.text)
            except RecursionError:  # JSON in strings of JSON, without an end
                pass
        return self._plain(text, data)

    def holds(self, text: str) -> bool:
        """Whether there is anything to replace."""
        return self.text(text) is not text

    def pseudonym(self, name: str, value: str) -> str:
        """What replaces a value that the pattern `name` found."""
        if not self._key:
            return f"[{name}]"
        pattern = next((one.pattern for one in self._patterns if one.name == name), None)
        same = pattern.same(value) if pattern else value
        digest = hmac.new(self._key, f"{name}\0{same}".encode(), sha256).hexdigest()
        return f"[{name}:{digest[:_PSEUDONYM].encode().translate(_LETTERS).decode()}]"

    def _may_hold(self, data: bytes) -> bool:
        if self._is_anchored or self._any.search(data):
            return True
        return any(self._any.search(plain) for plain in levels(data))

    def _plain(self, text: str, data: bytes) -> str:
        try:
            found = list(self._found(data))
            for plain, places in unescaped(data):
                found += [
                    (places[start], places[end], name, value)
                    for start, end, name, value in self._found(plain)
                ]
        except _TooMany:
            return TOO_MANY
        if not found:
            return text
        pieces: list[bytes] = []
        at = 0
        for start, end, name, value in _merged(found):
            pieces += (data[at:start], self.pseudonym(name, value).encode())
            at = end
        return b"".join((*pieces, data[at:])).decode(errors="replace")

    def _found(self, data: bytes) -> Iterator[tuple[int, int, str, str]]:
        """Begin, end, pattern and text of values, pattern by pattern."""
        marks, ids = _Places(self._mark, data), _Places(self._uuid, data)
        for one in self._patterns:
            is_own = BUILTIN.get(one.name) is not one.pattern
            for start, end in _values(one, data):
                if marks.hold(start, end) or (not is_own and ids.hold(start, end)):
                    continue
                yield start, end, one.name, data[start:end].decode(errors="replace")


class _Places:
    """Where an expression fits a text."""

    def __init__(self, expression: Any, data: bytes) -> None:
        found = [match.span() for match in expression.finditer(data)]
        self._starts = [start for start, _ in found]
        self._ends = [end for _, end in found]

    def hold(self, start: int, end: int) -> bool:
        """Whether a value lies inside of one of them."""
        before = bisect_right(self._starts, start) - 1
        return before >= 0 and end <= self._ends[before]


def _values(one: _Compiled, data: bytes) -> Iterator[Found]:
    at, tried = 0, 0
    while (match := one.expression.search(data, at)) is not None:
        if (tried := tried + 1) > _MOST:
            raise _TooMany
        start, end = match.span(one.group)
        if start < 0:  # the group took no part
            start, end = match.span()
        found = one.pattern.check(data, start, end)
        yield from found
        # Inside of what was none, and behind what was, another may begin.
        if one.pattern.is_row:
            at = match.end()
        else:
            at = max(found[-1][1] if found else match.start() + 1, at + 1)


def _merged(found: list[tuple[int, int, str, str]]) -> Iterator[tuple[int, int, str, str]]:
    """In order, and overlapping ones as one, called after the first."""
    found = sorted(found, key=lambda one: one[:2])
    start, end, name, value = found[0]
    for one in found[1:]:
        if one[0] < end:
            end = max(end, one[1])
            continue
        yield start, end, name, value
        start, end, name, value = one
    yield start, end, name, value


def bad_patterns(patterns: Sequence[str]) -> str:
    """Why patterns of the user's own cannot be; empty: they can."""
    for one in patterns:
        try:
            _compiled(*_own(one))
        except ValueError as error:
            return f"holds {one!r}: {error}"
    return ""


def _own(text: str) -> tuple[str, Pattern]:
    name, equals, expression = text.partition("=")
    if not equals or not NAME.fullmatch(name) or not expression:
        raise ValueError("give name=expression, the name of a-z, 0-9 and _")
    return name, Pattern(expression=expression)


def _compiled(name: str, pattern: Pattern) -> _Compiled:
    expression = _compile(pattern.expression)
    if expression.search(b"") is not None:
        raise ValueError("it fits the empty text: it would be found everywhere")
    return _Compiled(name, pattern, expression, 1 if expression.groups else 0)


def _compile(expression: str) -> Any:
    import re2  # here: a process that redacts nothing does without it

    options = re2.Options()
    options.log_errors = False
    options.never_capture = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        told = error.args[0] if error.args else ""
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise ValueError(f"RE2 cannot read it: {text}") from error
