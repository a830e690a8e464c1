"""What is to be run: a demo, by a settings file of its example, with a seed."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.infra.demo import CASES

SETTINGS = "settings.toml"
DEMOS = tuple(name for name, case in CASES.items() if not case.drifts)
"""Those that ask version 0 and the last; the one whose tasks change asks others."""
EVERYTHING = (*DEMOS, "recovery:plain.toml")


@dataclass(kw_only=True, slots=True, frozen=True)
class Wanted:
    """One run."""

    name: str
    """Of the demo."""
    settings: str
    seed: int

    @property
    def what(self) -> str:
        """Demo and settings."""
        return self.name if self.settings == SETTINGS else f"{self.name}:{self.settings}"


def wanted(names: Sequence[str], seeds: int) -> list[Wanted]:
    """The runs of some demos, seed by seed; no names: all demos there are."""
    each = [name.partition(":") for name in names or EVERYTHING]
    return [
        Wanted(name=name, settings=settings or SETTINGS, seed=seed)
        for seed in range(1, seeds + 1)
        for name, _, settings in each
    ]


def demo_name(text: str) -> str:
    """`NAME` or `NAME:SETTINGS`, as an option. Raises ArgumentTypeError for an unknown demo."""
    if text.partition(":")[0] not in DEMOS:
        raise argparse.ArgumentTypeError(f"no demo {text!r}: there are {', '.join(DEMOS)}")
    return text
