"""How attempts end: what is told of one, and how many ended how."""

from dataclasses import dataclass

from headrace.connectors.described import Described
from headrace.connectors.runner.retries import How
from headrace.connectors.sdk import Attempt
from headrace.schemas.vocabulary import SpanStatus

RUNNER, NUMBER = "headrace.runner", "headrace.attempt_number"
"""Attributes of `attempt.start` by which a runner says who it is, and which try it makes."""
ENDED_BY, WHY = "headrace.ended_by", "headrace.why"
"""Attributes of an `attempt.end` that is not ok: how it ended or which limit it met, in words."""
LIMIT = "limit"
"""Event of an attempt that met a limit: this is its agent's doing, and a result."""


@dataclass(slots=True)
class RunnerStats:
    """Attempts by how they ended."""

    ok: int = 0
    failed: int = 0
    """The agent raised."""
    deadline: int = 0
    """The agent did not end in time."""
    died: int = 0
    """The worker process ended under it."""
    stopped: int = 0
    """The runner was stopped."""
    cancelled: int = 0
    """Their tasks were taken back."""
    retried: int = 0
    """Of all these, attempts that another one follows."""

    def __str__(self) -> str:
        """As a person reads it: what ended well, and what else there was."""
        others = {
            "failed": self.failed,
            "past the deadline": self.deadline,
            "lost with a worker process": self.died,
            "stopped": self.stopped,
            "cancelled": self.cancelled,
            "tried again": self.retried,
        }
        return ", ".join([f"{self.ok} ok", *(f"{n} {how}" for how, n in others.items() if n)])


@dataclass(kw_only=True, slots=True, frozen=True)
class Ended:
    """What became of an attempt."""

    how: How
    rollout_id: str = ""
    attempt: str = ""
    """Empty where it did not begin."""
    agent: str = ""
    why: str = ""
    """Why it is not ok, for a person."""
    limit: str = ""
    """The limit that it met."""
    seconds: float = 0.0
    """How long it took."""
    again_s: float | None = None
    """Seconds until another attempt at its task begins; None: none does."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Run:
    """What an agent did, before its end is told."""

    how: How
    output: Described | None = None
    why: str = ""
    """Why it is not ok."""
    limit: str = ""
    """The limit that it met."""


def tell_end(attempt: Attempt, run: Run) -> None:
    """Tell an attempt's end, with its reason where it has one. Raises NotDurable."""
    if run.how is How.OK:
        attempt.end(run.output)
        return
    told = {ENDED_BY: run.limit or run.how, WHY: run.why}
    attempt.end(run.output, status=SpanStatus.ERROR, attributes=told)
