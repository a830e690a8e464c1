"""Whether an attempt is followed by another one, and when. Pure."""

from enum import StrEnum
from hashlib import blake2b


class How(StrEnum):
    """How an attempt ended."""

    OK = "ok"
    FAILED = "failed"
    """The agent raised."""
    DEADLINE = "deadline"
    """The agent did not end in time."""
    DIED = "died"
    """The worker process ended under it."""
    STOPPED = "stopped"
    """The runner was stopped."""
    CANCELLED = "cancelled"
    """Its task was taken back."""


class Retry(StrEnum):
    """What is tried again; each word names more than the one before it."""

    NEVER = "never"
    INFRASTRUCTURE = "infrastructure"
    """Attempts whose worker process died."""
    TIMEOUTS = "timeouts"
    """… and those that ran past `attempt_timeout_s`."""
    FAILURES = "failures"
    """… and those whose agent raised."""


_FROM = {How.DIED: Retry.INFRASTRUCTURE, How.DEADLINE: Retry.TIMEOUTS, How.FAILED: Retry.FAILURES}
_WORDS = list(Retry)


def is_retried(how: How, retry: Retry) -> bool:
    """Whether an attempt that ended so is to be followed by another one."""
    return how in _FROM and _WORDS.index(retry) >= _WORDS.index(_FROM[how])


def pause_s(rollout_id: str, number: int, first_s: float, longest_s: float) -> float:
    """Seconds between the end of a rollout's attempt `number` (from 1) and its next one.

    Doubles from `first_s` up to `longest_s`; half of it is drawn from the ids, so that attempts
    which failed together are not tried together ("equal jitter", Brooker, AWS 2015), and the same
    rollout waits as long wherever it is run.
    """
    whole = min(longest_s, first_s * 2.0 ** min(number - 1, 60))
    drawn = int.from_bytes(blake2b(f"{rollout_id}/{number}".encode(), digest_size=8).digest())
    return whole * (1 + drawn / 2**64) / 2
