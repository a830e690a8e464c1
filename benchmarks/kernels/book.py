"""The results of a run as they are found: written after every step, read back to go on."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"
PEERS = ("liger-kernel", "trl", "verl", "cut-cross-entropy", "quack-kernels", "nvidia-cutlass-dsl")


@dataclass(kw_only=True, slots=True, frozen=True)
class Result:
    """Of one provider on one case."""

    provider: str
    case: str
    milliseconds: float
    """Median of forward and backward."""
    low: float
    """20th percentile."""
    high: float
    """80th percentile."""
    turns: int
    """How many times it was timed: fewer if it is slow."""
    peak_bytes: int
    """Most memory held beyond hidden states, head and the batch's columns."""
    saved_bytes: int
    """Held between forward and backward."""
    useful_teraflops: float
    """6·N·H·V over the time, N the rows of the mask."""
    repeats: bool
    """Whether a repeat is bitwise equal."""
    errors: dict[str, float | None]
    """The fields of `exact.Errors`; empty for what is no loss."""


@dataclass(kw_only=True, slots=True)
class Book:
    """One run on one machine."""

    path: Path
    about: dict[str, Any]
    checks: list[dict[str, Any]] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    """Provider, or provider and case (`key`): why it is not in the table."""
    started: str | None = None
    """What runs now: if the process dies, this is what it died of."""
    results: list[dict[str, Any]] = field(default_factory=list)
    finished: list[str] = field(default_factory=list)
    """Labels of the cases that are done."""
    left_out: list[str] = field(default_factory=list)

    def write(self) -> None:
        """To its file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {name: getattr(self, name) for name in _FIELDS}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=1) + "\n")
        part.replace(self.path)

    @contextmanager
    def running(self, what: str) -> Iterator[None]:
        """Notes what runs, so that a run which goes on after a death leaves it out."""
        self.started = what
        self.write()
        yield
        self.started = None


_FIELDS = ("about", "checks", "absent", "started", "results", "finished", "left_out")
_SAME = ("device", "torch", "triton", "cuda")
"""What must not differ between the parts of one run."""


def versions(names: Iterable[str] = PEERS) -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def key(provider: str, label: str) -> str:
    """Name of a provider on a case, or in the check."""
    return f"{provider} on {label}"


def read_book(path: Path) -> Book:
    """As it was last written."""
    return Book(path=path, **json.loads(path.read_text()))


def open_book(path: Path, about: dict[str, Any], *, go_on: bool) -> Book:
    """A new book, or the one at `path` to go on with. Raises ValueError where they do not fit."""
    if not path.exists():
        return Book(path=path, about=about)
    if not go_on:
        raise ValueError(f"{path} exists: add to it with --continue, or give another --name")
    book = read_book(path)
    for name in _SAME:
        if book.about.get(name) != about.get(name):
            raise ValueError(
                f"{path} is of {name} {book.about.get(name)}, this is {about.get(name)}: "
                "figures of one table must be of one machine. Give another --name"
            )
    if book.started is not None:
        book.absent[book.started] = "the process ended, or the device failed, while it ran"
        book.started = None
    book.left_out = []
    return book
