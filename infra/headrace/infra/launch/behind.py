"""How far the workers are behind the log, and what was set aside: for `headrace status`."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headrace.connectors.kafka import KafkaClientError
from headrace.connectors.kafka.lag import Lag, Lags
from headrace.connectors.kafka.letters import depths
from headrace.infra.settings import Settings
from headrace.schemas.topics import Topic

STAGE_TOPICS: Mapping[str, tuple[str, ...]] = {
    "assemble": (Topic.SPANS,),
    "credit": (Topic.EPISODES,),
    "sink": (Topic.TASKS, Topic.POLICIES, Topic.OUTCOMES),
}


@dataclass(kw_only=True, slots=True, frozen=True)
class Behind:
    """A worker's lag over all its partitions."""

    records: int
    seconds: float
    """Age of the oldest record that it has not acknowledged."""
    retention_s: float | None
    """Age at which the first of its topics lets a record go; None: never."""

    def __str__(self) -> str:
        """As a person reads it; nothing where it is not behind."""
        if not self.records:
            return ""
        kept = f" (kept for {self.retention_s / 3600:,.0f} h)" if self.retention_s else ""
        return f"{self.records:,} records and {self.seconds:,.1f} s behind{kept}"


def behind(settings: Settings) -> dict[str, dict[str, Any]]:
    """By part how far it is behind; parts of which the broker does not tell are left out."""
    found = {}
    for part, group, topics in _groups(settings):
        try:
            lags = Lags(settings.kafka_access.client("headrace-status"), group, topics).ask()
        except KafkaClientError:
            continue
        found[part] = asdict(summed(lags))
    return found


def set_aside(settings: Settings) -> dict[str, int]:
    """Records on dead-letter topics, by topic; nothing while the broker is away."""
    try:
        return depths(settings.kafka_access.client("headrace-status"))
    except KafkaClientError:
        return {}


def summed(lags: Mapping[tuple[str, int], Lag]) -> Behind:
    """The lags of several partitions as one."""
    kept = min((lag.retention_s for lag in lags.values()), default=math.inf)
    return Behind(
        records=sum(lag.records for lag in lags.values()),
        seconds=round(max((lag.seconds for lag in lags.values()), default=0.0), 3),
        retention_s=None if math.isinf(kept) else kept,
    )


def _groups(settings: Settings) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Part, consumer group, and what it reads."""
    for stage, topics in STAGE_TOPICS.items():
        yield stage, f"headrace.{stage}", topics
    for policy in settings.roles.trained:
        name = "trainer" if policy == settings.policy.name else f"trainer-{policy}"
        yield name, f"headrace.trainer.{policy}", (Topic.SAMPLES, Topic.CREDITS)
