"""Settings of the sink."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from headrace.connectors.clickhouse import ClickHouseConfig
from headrace.connectors.kafka import PoisonLimit
from headrace.streams.errors import StreamsSettingsError
from headrace.streams.host.config import poison_limit_from_environment


@dataclass(kw_only=True, slots=True, frozen=True)
class SinkConfig:
    """Configuration of the sink."""

    bootstrap: str
    """Kafka's address, "host:port"."""
    registry_url: str
    """Schema registry (Confluent API)."""
    clickhouse: ClickHouseConfig
    """Where the rows go."""
    group: str = "headrace.sink"
    """Consumer group."""
    member: str = "sink-0"
    """Static member id, its own for every sink: a restart takes over at once."""
    batch_records: int = 2_000
    """Records of one insert at most."""
    batch_s: float = 0.2
    """How long an insert waits for more records."""
    session_timeout_s: float = 8.0
    """After how long without heartbeats the broker gives the partitions to another sink."""
    unknown_schema_s: float = 30.0
    """How long the registry may not know a record's schema before it is a dead letter."""
    poison: PoisonLimit = field(default_factory=PoisonLimit)
    """How many records of a partition may be refused before it is halted."""
    run_directory: Path | None = None
    """Where `<member>.json`, the heartbeat, is written each second; None: nowhere."""

    def __post_init__(self) -> None:
        for name in ("bootstrap", "registry_url", "group", "member"):
            if not getattr(self, name):
                raise StreamsSettingsError(f"sink.{name} is empty: give it a value")
        if self.batch_records < 1 or self.batch_s <= 0:
            raise StreamsSettingsError("sink: batch_records and batch_s must be positive")


def config_from_environment() -> SinkConfig:
    """The sink's settings from `HEADRACE_*`.

    Raises:
        StreamsSettingsError: one is missing or cannot work.
    """
    env = os.environ
    run = env.get("HEADRACE_RUN_DIRECTORY")
    try:
        return SinkConfig(
            bootstrap=env["HEADRACE_KAFKA_BOOTSTRAP"],
            registry_url=env["HEADRACE_REGISTRY_URL"],
            clickhouse=ClickHouseConfig(
                url=env["HEADRACE_CLICKHOUSE_URL"],
                user=env.get("HEADRACE_CLICKHOUSE_USER", "default"),
                password=env.get("HEADRACE_CLICKHOUSE_PASSWORD", ""),
                database=env.get("HEADRACE_CLICKHOUSE_DATABASE", "headrace"),
            ),
            group=env.get("HEADRACE_GROUP") or "headrace.sink",
            member=env.get("HEADRACE_WORKER") or "sink-0",
            poison=poison_limit_from_environment(),
            run_directory=Path(run) if run else None,
        )
    except KeyError as error:
        raise StreamsSettingsError(f"{error.args[0]} is not set") from error
    except ValueError as error:
        raise StreamsSettingsError(f"sink: {error}") from error
