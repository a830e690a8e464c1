"""What a runner can be told: the section `[runner]`, and what `headrace work` adds."""

from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.settings import check, inner, key


@dataclass(kw_only=True, slots=True, frozen=True)
class RunnerSettings:
    """`headrace work`: how agents are run."""

    processes: int = key(2, least=1)
    """Worker processes."""
    concurrency: int = key(48, least=1)
    """Attempts that one process runs at once, each in a thread: agents mostly wait."""
    max_attempts: int = key(2, least=1)
    """Attempts at a task whose worker process died."""
    attempt_timeout_s: float = key(600.0, least=0.001)
    """Seconds that an attempt may take whose task has no deadline, or a later one."""
    pause_after: int = key(32, least=1)
    """Attempts that failed in a row after which only single ones are tried: when four groups of
    eight hold not one agent that came to its end, more of them teach nothing."""
    drain_s: float = key(10.0, least=0)
    """Seconds that running attempts may go on after the runner was told to stop."""

    def __post_init__(self) -> None:
        check(self, "runner")


@dataclass(kw_only=True, slots=True, frozen=True)
class RunnerConfig(RunnerSettings):
    """What a runner takes, and how it runs it."""

    kafka: KafkaAccess = inner()
    """Where tasks are read from and spans go."""
    registry: RegistryAccess = inner()
    """Schema registry (Confluent API)."""
    gateway_url: str = inner()
    """Where agents find their model, "http://host:port"."""
    api_key: str = inner("headrace", repr=False)
    """The key that agents are given for it."""
    agent: str | None = inner(None)
    """`module:function` to run instead of what the tasks name."""
    group: str = inner("headrace.runners")
    """Consumer group: runners of one group share the tasks."""
    spool_directory: Path | None = inner(None)
    """Where spans wait while Kafka is away."""

    def __post_init__(self) -> None:
        unnamed = self.agent is not None and ":" not in self.agent
        check(
            self,
            "runner",
            ("--agent", f"is {self.agent!r}: name it as module:function" if unnamed else ""),
        )
