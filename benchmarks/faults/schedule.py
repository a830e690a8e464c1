"""Which fault comes when: a function of the seed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Kind(StrEnum):
    """What is done to a running headrace."""

    KILL = "kill"
    """SIGKILL to a part and all its children."""
    STOP = "stop"
    """SIGSTOP for some seconds, then SIGCONT."""
    JOIN = "join"
    """A second worker of a stage comes, and leaves some seconds later."""
    LATE = "late"
    """For some seconds inserts land three seconds late, their senders alive or not."""
    REPEAT = "repeat"
    """Episodes of closed groups are written again."""
    CLOCK = "clock"
    """A producer's clock jumps."""
    FULL = "full"
    """For some seconds a part's disk is full."""


_KILLED_FIRST = 0.62
_OTHERS = {
    Kind.STOP: 0.3,
    Kind.JOIN: 0.12,
    Kind.LATE: 0.14,
    Kind.REPEAT: 0.2,
    Kind.CLOCK: 0.1,
    Kind.FULL: 0.14,
}


@dataclass(kw_only=True, slots=True, frozen=True)
class Fault:
    """One fault: after `pause_s`, this to that part; for `seconds`, where it lasts."""

    kind: Kind
    part: str
    pause_s: float
    seconds: float = 0.0


def schedule(
    seed: int, kills: int, *, parts: Sequence[str], producers: Sequence[str], stages: Sequence[str]
) -> Iterator[Fault]:
    """Faults until `kills` parts were killed; equal arguments give equal faults.

    parts: what is killed and stopped, evenly. producers: whose clock moves. stages: what workers
    join. Raises ValueError for an empty choice.
    """
    random = np.random.default_rng(seed)
    others, shares = list(_OTHERS), np.array(list(_OTHERS.values()))
    killable = [*parts, *producers]
    if not (killable and producers and stages):
        raise ValueError("name at least one part, one producer and one stage")
    order: list[str] = []
    killed = 0
    while killed < kills:
        pause_s = float(random.uniform(0.2, 2.6))
        if random.random() < _KILLED_FIRST:
            order = order or list(random.permutation(killable))
            killed += 1
            yield Fault(kind=Kind.KILL, part=str(order.pop()), pause_s=pause_s)
            continue
        kind = others[int(random.choice(len(others), p=shares / shares.sum()))]
        among = {
            Kind.STOP: killable,
            Kind.FULL: killable,
            Kind.JOIN: stages,
            Kind.CLOCK: producers,
        }.get(kind, [""])
        yield Fault(
            kind=kind,
            part=str(among[int(random.integers(len(among)))]),
            pause_s=pause_s,
            seconds=float(random.uniform(1.0, 14.0 if kind in (Kind.STOP, Kind.JOIN) else 6.0)),
        )
