"""What a run has found, written after every part; a part writes its own lines after every case."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

Line = dict[str, Any]
"""A case of a part: its name under `case`, and what was found by name."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Found:
    """What came of one part."""

    part: str
    state: str
    """`done`, `out of time`, or how it ended."""
    seconds: float
    lines: list[Line]


@dataclass(kw_only=True, slots=True)
class Book:
    """One run on one machine."""

    path: Path
    about: dict[str, str]
    parts: list[Found] = field(default_factory=list)

    def add(self, found: Found) -> None:
        self.parts.append(found)

    def write(self) -> None:
        """To its file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"about": self.about, "parts": [asdict(part) for part in self.parts]}
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(self.path)


def tell(file: Path, case: str, **values: Any) -> None:
    """Append a case to a part's lines, and print it."""
    line = {"case": case, **values}
    with file.open("a") as lines:
        lines.write(json.dumps(line) + "\n")
    print(f"  {case}: " + ", ".join(f"{k} {short(v)}" for k, v in values.items()), flush=True)


def read_lines(file: Path) -> list[Line]:
    """What a part has written so far; a line that was cut off is left out."""
    if not file.exists():
        return []
    whole = file.read_text().split("\n")[:-1]
    return [json.loads(line) for line in whole]


def short(value: Any) -> str:
    """A figure in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
