"""Groups that can be trained, until enough of one kind are there for a step. Pure.

Advantages of different rules or credit methods do not compare: a kind is one of each.
"""

from collections.abc import Iterable

from headrace.schemas import Credits
from headrace.trainer.decided import GroupKey
from headrace.trainer.pinned import Position

Kind = tuple[str, str]
"""Rule and credit method."""


def kind_of(credits: Credits) -> Kind:
    """What a group's advantages compare with."""
    return credits.rule, credits.credit


def rollouts_of(credits: Credits) -> int:
    """Rollouts a group stands for, those that bring nothing to train included."""
    members = {member.rollout_id for member in credits.members}
    return len(members | set(credits.missing_rollouts))


class Ready:
    """The groups that wait for a step, by kind, and for how many rollouts they stand."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, dict[GroupKey, int]] = {}
        self._rollouts: dict[Kind, int] = {}
        self._newest: dict[Kind, Position] = {}
        self._kind_of: dict[GroupKey, Kind] = {}

    def __contains__(self, key: GroupKey) -> bool:
        return key in self._kind_of

    def add(self, key: GroupKey, credits: Credits, position: Position) -> None:
        """A group can be trained; a group that is here takes its new place."""
        self.remove(key)
        kind, rollouts = kind_of(credits), rollouts_of(credits)
        self._kinds.setdefault(kind, {})[key] = rollouts
        self._rollouts[kind] = self._rollouts.get(kind, 0) + rollouts
        self._newest[kind] = max(self._newest.get(kind, position), position, key=_age)
        self._kind_of[key] = kind

    def remove(self, key: GroupKey) -> None:
        """It waits no more."""
        kind = self._kind_of.pop(key, None)
        if kind is None:
            return
        self._rollouts[kind] -= self._kinds[kind].pop(key)
        if not self._kinds[kind]:
            del self._kinds[kind], self._rollouts[kind], self._newest[kind]

    def enough(self, rollouts: int) -> Iterable[Iterable[GroupKey]]:
        """The groups of each kind that stands for at least so many rollouts."""
        return [self._kinds[kind] for kind, held in self._rollouts.items() if held >= rollouts]

    def in_the_way(self, rollouts: int) -> list[GroupKey]:
        """Groups of a kind that will not fill a step, and whose rollouts keep others from doing so.

        All together are enough and no kind alone is: rule or method were changed with a step half
        full, and the older kind gets no more.
        """
        held = self._rollouts
        if len(held) < 2 or sum(held.values()) < rollouts or max(held.values()) >= rollouts:
            return []
        newest = max(self._newest, key=lambda kind: _age(self._newest[kind]))
        return [key for kind, keys in self._kinds.items() if kind != newest for key in keys]


def _age(position: Position) -> tuple[int, Position]:
    return position.log_time, position
