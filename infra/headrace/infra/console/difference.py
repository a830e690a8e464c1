"""Where two texts differ, word by word."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

MOST = 200
"""Words, blanks and signs of a text up to which it is compared: the time is cubic where they repeat
themselves."""
_WORD = re.compile(r"\s+|\w+|[^\w\s]")


@dataclass(kw_only=True, slots=True, frozen=True)
class Piece:
    """A part of a text, and whether the other one lacks it."""

    text: str
    own: bool


def differences(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces; whole where one is too long to be compared."""
    first, second = _WORD.findall(a), _WORD.findall(b)
    if max(len(first), len(second)) > MOST:
        return unmarked(a, b)
    steps = SequenceMatcher(None, first, second).get_opcodes()
    return (
        list(_pieces(first, [(step[0] != "equal", step[1], step[2]) for step in steps])),
        list(_pieces(second, [(step[0] != "equal", step[3], step[4]) for step in steps])),
    )


def unmarked(a: str, b: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts whole."""
    return [Piece(text=a, own=False)], [Piece(text=b, own=False)]


def _pieces(words: Sequence[str], parts: list[tuple[bool, int, int]]) -> Iterator[Piece]:
    for own, begin, end in parts:
        if end > begin:
            yield Piece(text="".join(words[begin:end]), own=own)
