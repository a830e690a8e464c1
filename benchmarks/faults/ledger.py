"""What a producer gave away and what was acknowledged, written down before and after.

A line each in a file that is opened for appending: it survives a SIGKILL of its writer, whole or
without its last line.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from headrace.schemas import Span

GIVEN, ACKNOWLEDGED, WHOLE = "given", "acknowledged", "whole"
Id = tuple[str, str, str]
"""Rollout, attempt, span."""


class Ledger:
    """Appends to a producer's ledger; waits where the disk takes no more."""

    def __init__(self, file: Path) -> None:
        self._file: IO[bytes] = file.open("ab", buffering=0)

    def write(self, word: str, spans: Iterable[Span]) -> None:
        """A line for each span."""
        lines = (f"{word} {s.rollout_id} {s.attempt} {s.span_id}\n" for s in spans)
        left = "".join(lines).encode()
        while left:
            try:
                left = left[self._file.write(left) or 0 :]
            except OSError:  # the disk is full, on purpose: soon it is not
                time.sleep(0.1)

    def close(self) -> None:
        """Write no more."""
        self._file.close()


@dataclass(kw_only=True, slots=True)
class Book:
    """All ledgers of a run, read back."""

    given: set[Id] = field(default_factory=set)
    acknowledged: set[Id] = field(default_factory=set)
    whole: set[tuple[str, str]] = field(default_factory=set)
    """Attempts whose every span, the end included, was acknowledged."""


def read(files: Sequence[Path]) -> Book:
    """Everything that stands in some ledgers; a torn last line says nothing."""
    book = Book()
    into = {GIVEN: book.given, ACKNOWLEDGED: book.acknowledged}
    for file in files:
        for line in file.read_text().splitlines(keepends=True):
            words = line.split()
            if not line.endswith("\n") or len(words) != 4:
                continue
            word, rollout, attempt, span = words
            if word == WHOLE:
                book.whole.add((rollout, attempt))
            elif word in into:
                into[word].add((rollout, attempt, span))
    return book
