"""What the workers of all stages can be told: the section `[streams]`, and what a process is given.

`HEADRACE_WORKER` is the static member id, `HEADRACE_GROUP` another consumer group (a rebuild),
`HEADRACE_RUN_DIRECTORY` where heartbeats go.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.connectors.clickhouse import ClickHouseConfig
from headrace.connectors.kafka import KafkaAccess, PoisonSettings, RegistryAccess
from headrace.connectors.settings import (
    SERVERS,
    check,
    inner,
    key,
    keys,
    sections_from_environment,
)


@dataclass(kw_only=True, slots=True, frozen=True)
class StreamsSettings(PoisonSettings):
    """What the stream workers have in common."""

    take_records: int = key(200, least=1, most=10_000)
    """Records that a worker takes at once, at most."""
    take_ms: int = key(20, least=1, most=10_000)
    """How long the broker, asked for records, waits for more of them, in milliseconds."""
    store_ms: int = key(500, least=1, most=10_000)
    """How long rows of takes that were sent wait for more, so that ClickHouse gets large blocks, in
    milliseconds."""
    store_bytes: int = key(16 * 1024 * 1024, least=1)
    """Size at which such rows are stored at once. At four times as much a worker takes no more."""
    session_timeout_s: float = key(10.0, least=6, most=60)
    """Seconds without heartbeats after which the broker gives a worker's partitions to another.
    Every membership change restarts all workers of a stage: they have to be back within this time,
    or they push each other out for ever."""

    def __post_init__(self) -> None:
        check(self, "streams")


@dataclass(kw_only=True, slots=True, frozen=True)
class HostConfig(StreamsSettings):
    """Configuration of one worker of a stage."""

    name: str = inner()
    """The stage's name; the consumer group is `headrace.<name>`."""
    kafka: KafkaAccess = inner()
    """The cluster."""
    registry: RegistryAccess = inner()
    """The schema registry."""
    clickhouse: ClickHouseConfig = inner(default_factory=ClickHouseConfig)
    """Where the stage keeps its rows."""
    member: str = inner("")
    """Static member id, its own for every worker of the stage; default `<name>-0`."""
    group: str = inner("")
    """Consumer group, if it is not to be `headrace.<name>` (a rebuild)."""
    data_directory: Path = inner(Path(".headrace/streams"))
    """Where Faust may leave files."""
    run_directory: Path | None = inner(None)
    """Where `<member>.json`, the worker's heartbeat, is written each second; None: nowhere."""

    @property
    def member_id(self) -> str:
        """The static member id."""
        return self.member or f"{self.name}-0"

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or f"headrace.{self.name}"


SECTIONS: Mapping[str, type] = {
    "streams": StreamsSettings,
    "kafka": KafkaAccess,
    "registry": RegistryAccess,
    "clickhouse": ClickHouseConfig,
}
"""What of the settings every worker reads."""


def host_config_from_environment(
    name: str,
    *,
    environment: Mapping[str, str] = os.environ,
    wanted: Sequence[str] = SERVERS,
    **settings: Any,
) -> HostConfig:
    """A worker's configuration from `HEADRACE_*`; `settings` of the stage go before `[streams]`.

    Raises:
        BadSettings: names each variable that is missing or cannot work.
    """
    made = sections_from_environment(SECTIONS, environment, wanted=wanted)
    common = {one.name: getattr(made["streams"], one.name) for one in keys(StreamsSettings)}
    run = environment.get("HEADRACE_RUN_DIRECTORY")
    return HostConfig(
        **{**common, **settings},
        name=name,
        kafka=made["kafka"],
        registry=made["registry"],
        clickhouse=made["clickhouse"],
        member=environment.get("HEADRACE_WORKER", ""),
        group=environment.get("HEADRACE_GROUP", ""),
        data_directory=Path(environment.get("HEADRACE_DATA_DIRECTORY") or ".headrace") / "streams",
        run_directory=Path(run) if run else None,
    )
