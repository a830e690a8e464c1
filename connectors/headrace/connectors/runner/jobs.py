"""What a runner and those that run its jobs say to each other."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(kw_only=True, slots=True, frozen=True)
class Job:
    """One attempt to run."""

    key: int
    agent: str
    """`module:function`."""
    task_input: str
    """JSON."""
    base_url: str
    gateway_url: str
    api_key: str
    names_agents: bool = False
    """Whether model calls name the agent that makes them."""
    model: str
    """Model to ask for; empty: the agent's own choice."""
    pinned: bool
    """Whether the agent must ask for exactly that model."""
    project: str
    rollout_id: str
    attempt: str
    root: str
    end_id: str
    """Span ids of the attempt's start and end."""
    subject: str | None


class Interrupt(NamedTuple):
    """Asks a worker process to end a job whose result nobody waits for."""

    key: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Failure:
    """An exception that ended an agent."""

    name: str
    message: str
    trace: str
    limit: str = ""
    """The limit that it met, as `Limits` calls it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Done:
    """An agent returned or raised."""

    key: int
    output: str = ""
    """Its return value as JSON."""
    replaced: int = 0
    """Values in it that are replaced by what could be said of them."""
    failure: Failure | None = None


class WorkerDied(Exception):
    """The process that ran a job ended under it."""


class AgentStuck(Exception):
    """An agent did not end in time; its process will be ended."""


class JobCancelled(Exception):
    """Somebody took the task of a job back; says why."""


class Workers(Protocol):
    """Runs jobs, each in the time of the thread that asks."""

    def new_key(self) -> int:
        """A key for a job."""

    def run(self, job: Job, timeout: float) -> Done:
        """Run a job and wait for it.

        Raises:
            WorkerDied: its process ended meanwhile, or the workers were closed.
            AgentStuck: it did not end within `timeout` seconds.
            JobCancelled: `cancel` was called for it, before or meanwhile.
        """

    def cancel(self, key: int) -> None:
        """End a job that runs or is about to; returns at once."""

    def close(self) -> None:
        """End every process; jobs that run fail with WorkerDied."""
