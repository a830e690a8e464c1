"""JSON's escapes in texts: values that are written with them are found too. Pure, stdlib only."""

import json
import re
from collections.abc import Iterator
from typing import Any

_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u]"
)
_PLAIN = {ord("n"): b"\n", ord("t"): b"\t", ord("r"): b"\r", ord("b"): b"\b", ord("f"): b"\f"}
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][0-9.eE+\-]*', re.DOTALL)
LEVELS = 3
"""How often texts may be escaped in each other: JSON in a string of JSON in a string."""


def levels(data: bytes) -> Iterator[bytes]:
    """The text without its escapes, once and up to LEVELS times, while there are any."""
    for _ in range(LEVELS):
        if b"\\" not in data:
            return
        yield (data := _ESCAPE.sub(lambda match: _meant(match[0]), data))


def unescaped(data: bytes) -> Iterator[tuple[bytes, list[int]]]:
    """The same, with the places in `data` of each one's bytes and of its end."""
    places = list(range(len(data) + 1)) if b"\\" in data else []
    for _ in range(LEVELS):
        if b"\\" not in data:
            return
        pieces: list[bytes] = []
        kept: list[int] = []
        at = 0
        for match in _ESCAPE.finditer(data):
            start, end = match.span()
            made = _meant(data[start:end])
            pieces += (data[at:start], made)
            kept += places[at:start]
            kept += [places[start]] * len(made)
            at = end
        if not pieces:
            return
        pieces.append(data[at:])
        kept += places[at:]
        data, places = b"".join(pieces), kept
        yield data, places


def _meant(escape: bytes) -> bytes:
    if escape[1:2] != b"u":
        return _PLAIN.get(escape[1], escape[1:])
    text = json.loads(b'"' + escape + b'"')
    return str(text).encode(errors="replace")


def is_json(text: str) -> bool:
    """Whether a text is an object, an array or a string of JSON."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def rewritten(text: str, change: Any) -> str:
    """JSON with its strings (keys too) and numbers changed by `change`; all else stays as it is.

    A number that `change` makes another text becomes a string.
    """
    pieces: list[str] = []
    at = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        plain = json.loads(token) if token[0] == '"' else token
        made = change(plain)
        if made is not plain and made != plain:
            pieces += (text[at : match.start()], json.dumps(made, ensure_ascii=False))
            at = match.end()
    return text if not pieces else "".join((*pieces, text[at:]))
