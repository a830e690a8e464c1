"""What each part is told on its command line."""

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch


@dataclass(kw_only=True, slots=True, frozen=True)
class PartOptions:
    """Of one part."""

    lines: Path
    """Where it writes its cases."""
    seconds: float
    rehearse: bool
    begun: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.rehearse else "cuda")

    def is_over(self) -> bool:
        """Whether no further case is to begin."""
        return time.monotonic() - self.begun >= self.seconds


def part_options(prog: str) -> PartOptions:
    """Reads them; a rehearsal is interpreted, which must be chosen before Triton is imported."""
    parser = argparse.ArgumentParser(prog=prog)
    parser.add_argument("--lines", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args()
    if given.rehearse:
        os.environ["TRITON_INTERPRET"] = "1"
    return PartOptions(lines=given.lines, seconds=given.seconds, rehearse=given.rehearse)


def in_words(error: Exception) -> str:
    """An exception in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def attempt(case: Callable[[], dict[str, float]]) -> dict[str, float | str]:
    """What a case gives, or why it gave nothing: the next ones are run all the same."""
    try:
        return {**case()}
    except Exception as error:  # a failure on the device is a finding
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return {"failed": in_words(error)}
