"""What a runner and its worker processes say to each other."""

from dataclasses import dataclass


@dataclass(kw_only=True, slots=True, frozen=True)
class Job:
    """One attempt to run."""

    key: int
    agent: str
    """`module:function`."""
    task_input: str
    """JSON."""
    base_url: str
    api_key: str
    model: str
    """Model to ask for; empty: the agent's own choice."""
    pinned: bool
    """Whether the agent must ask for exactly that model."""
    project: str
    rollout_id: str
    attempt: str
    root: str
    subject: str | None


@dataclass(kw_only=True, slots=True, frozen=True)
class Failure:
    """An exception that ended an agent."""

    name: str
    message: str
    trace: str


@dataclass(kw_only=True, slots=True, frozen=True)
class Done:
    """An agent returned or raised."""

    key: int
    output: str = ""
    """Its return value as JSON."""
    replaced: int = 0
    """Values in it that are replaced by what could be said of them."""
    failure: Failure | None = None
