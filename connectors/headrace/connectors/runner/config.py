"""What a runner can be told: the section `[runner]`, and what `headrace work` adds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from headrace.connectors.commands.command_line import agent_name
from headrace.connectors.kafka import KafkaAccess, PoisonSettings, RegistryAccess
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.runner.limits import Limits
from headrace.connectors.runner.retries import Retry
from headrace.connectors.settings import check, inner, key
from headrace.schemas import Task

InputBy = Literal["argument", "stdin", "environment"]


@dataclass(kw_only=True, slots=True, frozen=True)
class RunnerSettings:
    """`headrace work`: how agents are run."""

    processes: int = key(2, least=1)
    """Worker processes."""
    concurrency: int = key(48, least=1)
    """Attempts that one process runs at once, each in a thread: agents mostly wait."""
    attempt_timeout_s: float = key(600.0, least=0.001)
    """Seconds that an attempt may take whose task has no deadline, or a later one."""
    retry: str = key(Retry.INFRASTRUCTURE.value, choices=Retry)
    """What is tried again before the task's deadline: attempts whose worker process died
    (infrastructure), those past attempt_timeout_s too (timeouts), those whose agent raised too
    (failures). Only the last one stands for its rollout."""
    max_attempts: int = key(2, least=1)
    """Attempts at a task, where `retry` asks for another."""
    retry_first_s: float = key(1.0, least=0)
    """Seconds before the second attempt; twice as long before each further one."""
    retry_longest_s: float = key(60.0, least=0)
    """Seconds between two attempts at most; half of each pause is drawn from the rollout's id."""
    pause_after: int = key(32, least=1)
    """Attempts that failed in a row after which only single ones are tried: when four groups of
    eight hold not one agent that came to its end, more of them teach nothing."""
    drain_s: float = key(10.0, least=0)
    """Seconds that running attempts may go on after the runner was asked to stop."""

    isolate: bool = False
    """Each attempt of a function in a process of its own, as a command has; with a limit always."""
    memory_mb: int = key(0, least=0)
    """Megabytes of address space that each process of an attempt may have; 0: no limit."""
    cpu_s: int = key(0, least=0)
    """Seconds of processor that each process of an attempt may use; 0: no limit."""
    open_files: int = key(0, least=0)
    """Files that each process of an attempt may hold open; 0: no limit."""
    max_processes: int = key(0, least=0)
    """Processes that an attempt may have at once; 0: no limit."""

    @property
    def limits(self) -> Limits:
        """What the processes of an attempt may use."""
        return Limits(
            memory_mb=self.memory_mb,
            cpu_s=self.cpu_s,
            open_files=self.open_files,
            max_processes=self.max_processes,
        )

    @property
    def isolated(self) -> bool:
        """Whether an attempt of a function has a process of its own."""
        return self.isolate or self.limits.any

    def __post_init__(self) -> None:
        check(self, "runner")


@dataclass(kw_only=True, slots=True, frozen=True)
class CommandAgent:
    """An agent that is a command: each attempt is a process of its own."""

    words: tuple[str, ...]
    """The command; `{input}`, `{model}` and `{rollout}` in it are replaced."""
    input: InputBy = "argument"
    """How it is given the task: in place of `{input}`, on stdin, or in HEADRACE_TASK_INPUT."""
    grace_s: float = 5.0
    """Seconds between SIGTERM and SIGKILL at the deadline."""


@dataclass(kw_only=True, slots=True, frozen=True)
class RunnerConfig(RunnerSettings):
    """What a runner takes, and how it runs it."""

    kafka: KafkaAccess = inner()
    """Where tasks are read from and spans go."""
    registry: RegistryAccess = inner()
    """Schema registry (Confluent API)."""
    poison: PoisonSettings = inner(default_factory=PoisonSettings)
    """How many tasks that cannot be read are accepted."""
    privacy: PrivacySettings = inner(default_factory=PrivacySettings)
    """What of agents' data is kept."""
    gateway_url: str = inner()
    """Where agents find their model, "http://host:port"."""
    api_key: str = inner("headrace", repr=False)
    """The key that agents are given for it."""
    names_agents: bool = inner(False)
    """Whether model calls name the agent that makes them: `[agents]` has roles."""
    agent: str | None = inner(None)
    """`module:function` to run instead of what the tasks name."""
    command: CommandAgent | None = inner(None)
    """The command to run instead of what the tasks name."""
    name: str = inner("runner")
    """What the starts of its attempts call it."""
    group: str = inner("headrace.runners")
    """Consumer group: runners of one group share the tasks."""
    spool_directory: Path | None = inner(None)
    """Where spans wait while Kafka is away."""
    journals: Path | None = inner(None)
    """Where the processes of a command write their spans."""
    scratch: Path | None = inner(None)
    """Where attempts get folders of their own; None: among the system's temporary files."""

    @property
    def slots(self) -> int:
        """Attempts that run at once."""
        alone = self.command is not None or self.isolated
        return self.concurrency if alone else self.processes * self.concurrency

    def agent_of(self, task: Task) -> str:
        """The name of the agent that runs a task."""
        return agent_name(self.command.words) if self.command else self.agent or task.agent

    def __post_init__(self) -> None:
        unnamed = self.agent is not None and ":" not in self.agent
        both = self.agent is not None and self.command is not None
        nowhere = self.command is not None and self.journals is None
        check(
            self,
            "runner",
            ("--command", "and --agent are two agents: give one" if both else ""),
            ("--command", "wants a folder for journals" if nowhere else ""),
            ("--agent", f"is {self.agent!r}: name it as module:function" if unnamed else ""),
        )
