"""Settings of the credit stage."""

import os
from dataclasses import dataclass, field

from headrace.connectors.clickhouse import ClickHouseConfig
from headrace.streams.credit.method import CreditMethod
from headrace.streams.credit.state import GroupPatience
from headrace.streams.errors import StreamsSettingsError


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditConfig:
    """Configuration of the credit stage."""

    bootstrap: str
    """Kafka's address, "host:port"."""
    registry_url: str
    """Schema registry (Confluent API)."""
    clickhouse: ClickHouseConfig
    """Where the groups are kept."""
    rule: str = "reward-span:reward"
    """Reward rule: `package.module:function`, `reward-span:NAME` or `span:a=1.0,b=0.5`."""
    method: CreditMethod = field(default_factory=CreditMethod)
    """Call, baseline and token methods, and the agents that are trained."""
    patience: GroupPatience = field(default_factory=GroupPatience)
    """How long a group waits."""
    max_held: int = 200_000
    """Episodes and calls kept in memory; more are looked up again when they are touched."""
    unknown_schema_s: float = 30.0
    """How long the registry may not know a record's schema before it is a dead letter."""

    def __post_init__(self) -> None:
        for name in ("bootstrap", "registry_url", "rule"):
            if not getattr(self, name):
                raise StreamsSettingsError(f"credit.{name} is empty: give it a value")
        if self.max_held < 1:
            raise StreamsSettingsError(f"credit.max_held is {self.max_held}: use 1 or more")


def config_from_environment() -> CreditConfig:
    """The stage's settings from `HEADRACE_*`.

    Raises:
        StreamsSettingsError: one is missing or cannot work.
    """
    env = os.environ
    try:
        clickhouse = ClickHouseConfig(
            url=env["HEADRACE_CLICKHOUSE_URL"],
            user=env.get("HEADRACE_CLICKHOUSE_USER", "default"),
            password=env.get("HEADRACE_CLICKHOUSE_PASSWORD", ""),
            database=env.get("HEADRACE_CLICKHOUSE_DATABASE", "headrace"),
        )
        agents = env.get("HEADRACE_CREDIT_TRAIN_AGENTS", "").split(",")
        return CreditConfig(
            bootstrap=env["HEADRACE_KAFKA_BOOTSTRAP"],
            registry_url=env["HEADRACE_REGISTRY_URL"],
            clickhouse=clickhouse,
            rule=env.get("HEADRACE_CREDIT_RULE", "reward-span:reward"),
            method=CreditMethod(
                call_name=env.get("HEADRACE_CREDIT_CALL", "uniform"),
                baseline_name=env.get("HEADRACE_CREDIT_BASELINE", "grpo"),
                token_name=env.get("HEADRACE_CREDIT_TOKEN", "uniform"),
                train_agents=tuple(sorted(agent.strip() for agent in agents if agent.strip())),
            ),
            patience=GroupPatience(
                grace_ms=int(env.get("HEADRACE_CREDIT_GRACE_MS", "10000")),
                max_wait_ms=int(env.get("HEADRACE_CREDIT_MAX_WAIT_MS", "600000")),
            ),
            max_held=int(env.get("HEADRACE_CREDIT_MAX_HELD", "200000")),
        )
    except KeyError as error:
        raise StreamsSettingsError(f"{error.args[0]} is not set") from error
    except ValueError as error:
        raise StreamsSettingsError(f"credit: {error}") from error
