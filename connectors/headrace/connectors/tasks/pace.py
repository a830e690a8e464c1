"""How far a task source is, and what it waits for, in words. No Kafka, no clock."""

from dataclasses import dataclass

QUIET_S = 30.0  # without an outcome for so long, it may be that nobody runs the tasks


@dataclass(kw_only=True, slots=True, frozen=True)
class Pace:
    """How far a task source is."""

    version: int = -1
    """Newest version of the policy; -1: none."""
    groups: int = 0
    """Groups that this source has asked for."""
    running: int = 0
    """Rollouts of the policy without an outcome, whoever asked for them."""
    trained: int = 0
    """Rollouts of the policy that were trained, as far back as the source has read."""
    dropped: int = 0
    """… and that were not."""
    paused: str = ""
    """Why only single groups are asked for, and what to do; empty: it is not so."""
    next_try_s: float = 0.0
    """Seconds until a group is tried in a pause."""
    halted: str = ""
    """Partitions that it does not read on; while there are any it asks for nothing. Empty: none."""


def progress_text(pace: Pace, total: int | None) -> str:
    """How far it is; `total`: groups to ask for in all, None: without end."""
    of = "" if total is None else f" of {total}"
    return (
        f"version {max(pace.version, 0)}: {pace.groups}{of} groups asked for; rollouts: "
        f"{pace.running} running, {pace.trained} trained, {pace.dropped} dropped"
    )


def waited_for(pace: Pace, policy: str, quiet_s: float) -> str:
    """What it waits for; `quiet_s`: seconds since anything of the pace has changed."""
    if pace.halted:
        return f"halted: too much of {pace.halted} cannot be read; mend it, then `headrace resume`"
    if pace.version < 0:
        return (
            f"waiting for version 0 of {policy}: not published yet; `headrace status` shows "
            "what the trainer does"
        )
    if pace.paused:
        return f"paused: {pace.paused}; one is tried in {pace.next_try_s:.0f} s"
    if pace.running and quiet_s >= QUIET_S:
        return f"no outcome for {quiet_s:.0f} s: is `headrace work` running?"
    return "waiting for a free slot: the trainer has enough for now"
