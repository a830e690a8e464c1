"""Settings of one worker of a stage."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headrace.connectors.kafka import PoisonLimit
from headrace.streams.errors import StreamsSettingsError


@dataclass(kw_only=True, slots=True, frozen=True)
class HostConfig:
    """Configuration of one worker of a stage."""

    bootstrap: str
    """Kafka's address, "host:port"."""
    name: str
    """The stage's name; the consumer group is `headrace.<name>`."""
    member: str = ""
    """Static member id, its own for every worker of the stage; default `<name>-0`."""
    registry_url: str
    """The schema registry."""
    poison: PoisonLimit = field(default_factory=PoisonLimit)
    """How many records of a partition may be refused before it is halted."""
    take_records: int = 200
    """Records of one take at most."""
    take_ms: int = 100
    """How long a take waits for more records."""
    session_timeout_s: float = 10.0
    """After how long without heartbeats the broker gives the partitions to another worker. Every
    membership change restarts all workers of a stage: they have to be back within this time, or
    they push each other out for ever."""
    group: str = ""
    """Consumer group, if it is not to be `headrace.<name>` (a rebuild)."""
    data_directory: Path = Path(".headrace/streams")
    """Where Faust may leave files."""
    run_directory: Path | None = None
    """Where `<member>.json`, the worker's heartbeat, is written each second; None: nowhere."""

    def __post_init__(self) -> None:
        if not self.bootstrap or not self.name:
            raise StreamsSettingsError("host: bootstrap and name must not be empty")
        if self.take_records <= 0 or self.take_ms <= 0:
            raise StreamsSettingsError("host: take_records and take_ms must be positive")
        if not 6.0 <= self.session_timeout_s <= 60.0:
            raise StreamsSettingsError(
                f"host: session_timeout_s is {self.session_timeout_s}: use 6 to 60 seconds, "
                "which brokers accept"
            )

    @property
    def member_id(self) -> str:
        """The static member id."""
        return self.member or f"{self.name}-0"

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or f"headrace.{self.name}"


def host_config_from_environment(name: str, **settings: Any) -> HostConfig:
    """The host's configuration from `HEADRACE_*`; `settings` come from the stage."""
    env = os.environ
    for variable, what in (
        ("HEADRACE_KAFKA_BOOTSTRAP", "Kafka's host:port"),
        ("HEADRACE_REGISTRY_URL", "the schema registry's URL"),
    ):
        if variable not in env:
            raise StreamsSettingsError(f"{variable} is not set: give {what}")
    run = env.get("HEADRACE_RUN_DIRECTORY")
    if timeout := env.get("HEADRACE_SESSION_TIMEOUT_S"):
        settings["session_timeout_s"] = float(timeout)
    data = env.get("HEADRACE_DATA_DIRECTORY", ".headrace")
    return HostConfig(
        bootstrap=env["HEADRACE_KAFKA_BOOTSTRAP"],
        registry_url=env["HEADRACE_REGISTRY_URL"],
        poison=poison_limit_from_environment(),
        name=name,
        member=env.get("HEADRACE_WORKER", ""),
        group=env.get("HEADRACE_GROUP", ""),
        data_directory=Path(data) / "streams",
        run_directory=Path(run) if run else None,
        **settings,
    )


def poison_limit_from_environment() -> PoisonLimit:
    """The limit that `HEADRACE_STREAMS_POISON_*` set.

    Raises:
        StreamsSettingsError: a setting is no number.
    """
    default = PoisonLimit()
    limit, window = "HEADRACE_STREAMS_POISON_LIMIT", "HEADRACE_STREAMS_POISON_WINDOW_MS"
    try:
        return PoisonLimit(
            records=int(os.environ.get(limit) or default.records),
            window_ms=int(os.environ.get(window) or default.window_ms),
        )
    except ValueError as error:
        raise StreamsSettingsError(f"{limit} or {window}: {error}") from error
