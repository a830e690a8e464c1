"""What a key of the console opens."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a key opens; each opens what those before it do."""

    METRICS = "metrics"
    """Figures of overview, policies, ledger and streams, without texts."""
    VIEWER = "viewer"
    """Every page but the pad."""
    ANNOTATOR = "annotator"
    """Feedback too."""
    SQL = "sql"
    """The pad too."""

    def opens(self, needed: "Role") -> bool:
        """Whether who has this role may what needs the other."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


_FIGURES = frozenset({"overview", "policies", "ledger", "streams"})


def needed_for(path: str) -> Role:
    """The role that a page wants, by its address: `/policies/…`."""
    section = path.split("/")[1] or "overview"
    if section in _FIGURES:
        return Role.METRICS
    return Role.SQL if section == "sql" else Role.VIEWER


@dataclass(kw_only=True, slots=True, frozen=True)
class Visitor:
    """Who asks: the name of the key, and its role."""

    name: str
    role: Role


ANYBODY = Visitor(name="", role=Role.SQL)
"""Who asks on loopback while there are no keys."""
