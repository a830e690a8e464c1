"""What the sink can be told: the section `[sink]`."""

from dataclasses import dataclass

from headrace.connectors.settings import check, key


@dataclass(kw_only=True, slots=True, frozen=True)
class SinkSettings:
    """The stage that fills the log tables."""

    take_records: int = key(2_000, least=1, most=100_000)
    """Records of one insert at most."""
    take_ms: int = key(200, least=1, most=10_000)
    """How long an insert waits for more records, in milliseconds."""

    def __post_init__(self) -> None:
        check(self, "sink")
