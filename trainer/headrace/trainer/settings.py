"""What the trainer can be told: the section `[trainer]`. Imports no torch."""

from dataclasses import dataclass

from headrace.connectors.settings import check, key
from headrace.schemas import InvalidId, check_id

MAIN = "main"
"""Name of the trainer whose versions are served."""


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainerSettings:
    """The trainer."""

    name: str = MAIN
    """Name of the trainer; another name trains beside it on equal data."""
    group_size: int = key(8, least=1)
    """Rollouts of a group."""
    groups_per_step: int = key(6, least=1)
    """Groups of an optimiser step."""
    max_staleness: int = key(1, least=0)
    """η: versions a sample may lag behind, at most."""
    learning_rate: float = key(1e-5, least=1e-12, most=1.0)
    """Learning rate of AdamW on the fp32 master weights."""
    horizon: int = key(16, least=1)
    """Constant by which an episode's token sum is divided."""
    threads: int = key(2, least=1)
    """CPU threads of a step."""
    max_versions: int = key(0, least=0)
    """Stop after this many new versions; 0: never."""
    max_held_bytes: int = key(1 << 30, least=1)
    """Bytes of samples in memory; beyond it the oldest are let go, and their groups dropped
    (`memory`)."""

    def __post_init__(self) -> None:
        check(self, "trainer", ("name", _bad_name(self.name)))

    @property
    def rollouts_per_step(self) -> int:
        """B: rollouts of a step."""
        return self.group_size * self.groups_per_step


def _bad_name(name: str) -> str:
    try:
        check_id(name, "it")
    except InvalidId:
        return f"is {name!r}: give 1 to 128 letters, digits, dots, underscores, colons or hyphens"
    return ""
