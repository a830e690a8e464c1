"""What is asked of a demo."""

from dataclasses import dataclass

from headrace.infra.demo.cases import Case
from headrace.infra.errors import SettingsError

SIGNIFICANCE = 0.01
ATTEMPT_S = 300.0
DRIFTS_LEAST = 2
"""Versions of a demo that drifts: one before the change, one after it that is tried."""


@dataclass(kw_only=True, slots=True, frozen=True)
class DemoConfig:
    """How long the demo trains and how hard it is tested."""

    case: Case
    """What learns."""
    versions: int
    """Policy versions to train."""
    heldout: int = 64
    """Held-out questions, asked of the first and of the last version."""
    seed: int = 0
    """Of the order in which tasks are drawn to train."""
    settings: str = "settings.toml"
    """File of the example's folder."""
    chaos: bool = False
    """Parts are killed while it learns, and an audit ends the demo."""

    def __post_init__(self) -> None:
        if self.case.drifts and (self.versions < DRIFTS_LEAST or self.chaos):
            raise SettingsError(
                f"the demo {self.case.name} takes {DRIFTS_LEAST} versions at least, and no --chaos"
            )
