"""Settings of the assembler."""

from dataclasses import dataclass, fields

from headrace.streams.errors import StreamsSettingsError


@dataclass(kw_only=True, slots=True, frozen=True)
class AssembleConfig:
    """How episodes are closed and how much is kept. All times are log time, milliseconds."""

    idle_ms: int = 120_000
    """An episode without an end closes after this long without a span."""
    max_age_ms: int = 3_600_000
    """An episode without an end closes this long after its first span."""
    deadline_grace_ms: int = 10_000
    """… or this long after its task's deadline: the runner's own end marker comes before."""
    memory_bytes: int = 256 * 1024 * 1024
    """Bytes of spans kept in memory; older episodes are read back from ClickHouse when needed."""
    take_records: int = 200
    """Records of one take at most."""
    take_ms: int = 100
    """How long a take waits for more records."""
    unknown_schema_seconds: float = 30.0
    """How long the registry is asked for an unknown schema id before the record is set aside."""
    message_bytes: int = 4 * 1024 * 1024
    """Size at which a record of episodes is full, and beyond which an episode loses its texts."""
    expired_per_take: int = 1_000
    """Expired episodes that are read back from ClickHouse in one take at most."""

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise StreamsSettingsError(
                    f"assemble.{field.name} is {getattr(self, field.name)}: it must be positive"
                )
