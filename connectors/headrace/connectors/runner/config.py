"""Configuration of a runner."""

from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.runner.errors import RunnerMisconfigured


@dataclass(kw_only=True, slots=True, frozen=True)
class RunnerConfig:
    """What a runner takes, and how it runs it."""

    bootstrap: str
    """Kafka brokers, "host:port" separated by commas."""
    registry_url: str
    """Schema registry (Confluent API)."""
    gateway_url: str
    """Where agents find their model, "http://host:port"."""
    api_key: str = "headrace"
    """The key that agents are given for it."""
    agent: str | None = None
    """`module:function` to run instead of what the tasks name."""
    processes: int = 2
    """Worker processes."""
    concurrency: int = 8
    """Attempts that one process runs at once, each in a thread."""
    group: str = "headrace.runners"
    """Consumer group: runners of one group share the tasks."""
    max_attempts: int = 2
    """Attempts at a task whose worker process died."""
    attempt_timeout_s: float = 600.0
    """Limit of an attempt whose task has no deadline, or a later one."""
    drain_s: float = 10.0
    """How long running attempts may go on after the runner was told to stop."""
    spool_directory: Path | None = None
    """Where spans wait while Kafka is away."""

    def __post_init__(self) -> None:
        for name in ("processes", "concurrency", "max_attempts"):
            if getattr(self, name) < 1:
                raise RunnerMisconfigured(
                    f"RunnerConfig.{name} is {getattr(self, name)}: use 1 or more"
                )
        if self.attempt_timeout_s <= 0:
            raise RunnerMisconfigured(
                f"RunnerConfig.attempt_timeout_s is {self.attempt_timeout_s}: use seconds above 0"
            )
        if self.agent is not None and ":" not in self.agent:
            raise RunnerMisconfigured(
                f"RunnerConfig.agent is {self.agent!r}: name it as module:function"
            )
