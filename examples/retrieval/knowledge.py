"""The knowledge base: a few thousand passages of one fact each."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "knowledge.tsv"


@dataclass(kw_only=True, slots=True, frozen=True)
class Fact:
    """A fact, and the passage that tells it."""

    about: str
    what: str
    value: str
    passage: str


@cache
def facts() -> tuple[Fact, ...]:
    """All of them, in the order of the file."""
    with FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            Fact(about=about, what=what, value=value, passage=passage)
            for about, what, value, passage in csv.reader(file, delimiter="\t")
        )
