"""A group as a set of members: the version of the set is the sum of its members' versions.

Pure: log times come with the records, rules are asked by whoever folds.
"""

from dataclasses import dataclass, field

from headrace.schemas import Episode
from headrace.schemas.deadline import is_time
from headrace.schemas.vocabulary import Split
from headrace.streams.credit.members import MemberFacts
from headrace.streams.credit.running import Running

GroupKey = tuple[str, str]
"""(project, group_id)."""


@dataclass(kw_only=True, slots=True, frozen=True)
class GroupPatience:
    """How long a group waits for members and rewards, in milliseconds of log time."""

    grace_ms: int = 10_000
    """Beyond the latest deadline of its members."""
    max_wait_ms: int = 600_000
    """From its first Episode, where no member has a deadline."""

    def __post_init__(self) -> None:
        if self.grace_ms < 0:
            raise ValueError(f"grace_ms is {self.grace_ms}: it must be 0 or more")
        if self.max_wait_ms <= 0:
            raise ValueError(f"max_wait_ms is {self.max_wait_ms}: it must be more than 0")


@dataclass(kw_only=True, slots=True)
class GroupState:
    """What is known of one group after a prefix of its partition's log.

    The order of `members` is kept: of several attempts of one rollout that may stand for it (they
    are complete, and infrastructure did not end them) the first in the log is the one used.
    """

    project: str
    group_id: str
    group_size: int = 1
    group_rollouts: tuple[str, ...] = ()
    policy: str = ""
    split: str = Split.TRAIN
    deadline: int = 0
    log_first: int = 0
    log_last: int = 0
    members: dict[tuple[str, str], MemberFacts] = field(default_factory=dict)
    running: Running = field(default_factory=Running)
    """Its place in the running mean, if it is a group of one that has one."""

    @property
    def key(self) -> GroupKey:
        """Project and group."""
        return self.project, self.group_id

    @property
    def version(self) -> int:
        """Grows with every member and every revision of one: the highest wins."""
        return sum(member.version for member in self.members.values())

    def is_news(self, episode: Episode) -> bool:
        """Whether this version of the Episode is newer than the one held."""
        held = self.members.get((episode.rollout_id, episode.attempt))
        return held is None or episode.version > held.version

    def add(self, episode: Episode, member: MemberFacts) -> None:
        """Take in a newer version of an Episode (`is_news`) with its facts."""
        held = self.members.get(member.key)
        if held is not None and member.usable and not held.usable:
            del self.members[member.key]  # goes behind those that stood before it
        self.members[member.key] = member
        self.group_size = max(self.group_size, episode.group_size)
        self.group_rollouts = max(
            self.group_rollouts, tuple(episode.group_rollouts), key=lambda ids: (len(ids), ids)
        )
        self.policy = max(self.policy, episode.policy)
        # One eval episode makes it an eval group (rule: what was held out is never trained).
        self.split = min(self.split, episode.split)
        self.deadline = max(self.deadline, episode.deadline)
        self.log_first = min(self.log_first or member.log_time, member.log_time)
        self.log_last = max(self.log_last, member.log_time)

    def chosen(self) -> dict[str, MemberFacts]:
        """The episode of each rollout that takes part: the first that may stand for it."""
        chosen: dict[str, MemberFacts] = {}
        for member in self.members.values():
            if member.usable:
                chosen.setdefault(member.rollout_id, member)
        return chosen

    def reward_alone(self) -> float | None:
        """The reward of a group of one that may be trained; None while there is none."""
        chosen = list(self.chosen().values())
        if self.group_size != 1 or len(chosen) != 1 or self.split != Split.TRAIN:
            return None
        return chosen[0].reward.value

    def is_complete(self) -> bool:
        """Whether every rollout was taken back, or has an episode that stands for it and whose
        reward is decided."""
        chosen = self.chosen()
        decided = {rollout for rollout, m in chosen.items() if not m.reward.pending}
        taken_back = {m.rollout_id for m in self.members.values() if m.cancelled} - chosen.keys()
        return len(decided) + len(taken_back) >= self.group_size

    def close_by(self, patience: GroupPatience) -> int:
        """Log time in milliseconds at which it is credited with what it has."""
        if is_time(self.deadline, self.log_first):
            return self.deadline + patience.grace_ms
        return self.log_first + patience.max_wait_ms

    def is_final(self, clock: int, patience: GroupPatience) -> bool:
        """Whether it is to be credited when its partition's log time is `clock`."""
        return self.is_complete() or clock >= self.close_by(patience)
