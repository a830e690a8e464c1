"""What the assembler can be told: the section `[assemble]`."""

from dataclasses import dataclass

from headrace.connectors.settings import check, key


@dataclass(kw_only=True, slots=True, frozen=True)
class AssembleConfig:
    """The stage that makes episodes of spans. Times are log time, milliseconds."""

    idle_ms: int = key(120_000, least=1)
    """An episode without an end span closes after this long without a span."""
    max_age_ms: int = key(3_600_000, least=1)
    """… or this long after its first span."""
    deadline_grace_ms: int = key(10_000, least=1)
    """… or this long after its task's deadline: the runner's own end comes before."""
    memory_bytes: int = key(256 * 1024 * 1024, least=1)
    """Spans kept in memory; older episodes are read back from ClickHouse when they are touched."""
    message_bytes: int = key(4 * 1024 * 1024, least=1, most=7 * 1024 * 1024)
    """Size at which a record of episodes is full, and beyond which an episode loses its texts."""
    expired_per_take: int = key(1_000, least=1)
    """Expired episodes that are read back from ClickHouse in one take at most."""

    def __post_init__(self) -> None:
        check(self, "assemble")
