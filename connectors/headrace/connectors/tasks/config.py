"""Configuration of a task source."""

from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.kafka import KafkaAccess, PoisonSettings, RegistryAccess
from headrace.connectors.settings import check, key
from headrace.connectors.tasks.errors import TasksMisconfigured
from headrace.schemas.vocabulary import Split


@dataclass(kw_only=True, slots=True, frozen=True)
class TaskItem:
    """A task to draw: what the agent gets, and the answer that is expected of it. Both JSON."""

    input: Any
    expected: Any = None


@dataclass(kw_only=True, slots=True, frozen=True)
class TasksSettings:
    """`headrace tasks`: when asking for more teaches nothing."""

    pause_after: int = key(64, least=1)
    """Groups in a row that all ended untrained after which only single ones are asked for."""

    def __post_init__(self) -> None:
        check(self, "tasks")


@dataclass(kw_only=True, slots=True, frozen=True)
class TaskSourceConfig:
    """Which rollouts are asked for, and how many at a time."""

    kafka: KafkaAccess
    """Where tasks are written to."""
    registry: RegistryAccess
    """Schema registry (Confluent API)."""
    policy: str
    """Policy under training."""
    poison: PoisonSettings = field(default_factory=PoisonSettings)
    """How many records that cannot be read are accepted."""
    agent: str = ""
    """`module:function` that runs the tasks; empty: the one that the runner was started with."""
    project: str = "default"
    """Project of the rollouts."""
    trainer: str = "main"
    """Trainer whose outcomes free the slots; a shadow trainer's do not."""
    group_size: int = 8
    """Rollouts of a group."""
    rollouts_per_step: int = 48
    """B: rollouts that the trainer takes in one step."""
    max_staleness: int = 1
    """η: versions that a rollout may lag behind when it is trained."""
    split: str = Split.TRAIN.value
    """Split of the admitted tasks."""
    deadline_s: float = 600.0
    """Seconds that an attempt may take from the moment its task is written; 0: no deadline."""
    pause_after: int = TasksSettings().pause_after
    """Groups in a row that all ended untrained after which only single ones are asked for."""

    def __post_init__(self) -> None:
        if not self.policy:
            raise TasksMisconfigured("TaskSourceConfig.policy is empty: name it")
        if self.agent and ":" not in self.agent:
            raise TasksMisconfigured(f"the agent is {self.agent!r}: name it as module:function")
        for name in ("group_size", "rollouts_per_step", "pause_after"):
            if getattr(self, name) < 1:
                raise TasksMisconfigured(
                    f"TaskSourceConfig.{name} is {getattr(self, name)}: use 1 or more"
                )
        for name in ("max_staleness", "deadline_s"):
            if getattr(self, name) < 0:
                raise TasksMisconfigured(
                    f"TaskSourceConfig.{name} is {getattr(self, name)}: use 0 or more"
                )
        if self.rollouts_per_step % self.group_size:
            raise TasksMisconfigured(
                f"TaskSourceConfig.rollouts_per_step is {self.rollouts_per_step}: use a multiple "
                f"of group_size ({self.group_size}), or a step could wait for ever for its last"
            )
