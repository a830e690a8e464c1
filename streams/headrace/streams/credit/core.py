"""The groups of a worker's partitions: what is held, what is due, what a take changes. Pure.

A group that is not held is looked up before it is opened (rule: what is not held is asked for);
what is stored may be a longer prefix of the log than what is read again, and then nothing changes
(rule: the highest version wins).
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from headrace.schemas import Credits, Episode, episode_id
from headrace.streams.credit.members import member_of, reward_of
from headrace.streams.credit.method import CreditMethod
from headrace.streams.credit.running import Running, RunningMeans
from headrace.streams.credit.settle import credits_of
from headrace.streams.credit.state import GroupKey, GroupPatience, GroupState
from headrace.streams.deadlines import Deadlines
from headrace.streams.reward import Rule

NOTHING_STORED = -1


@dataclass(kw_only=True, slots=True)
class Held:
    """A group in memory and the version of its newest row that is stored or owed."""

    state: GroupState
    partition: int
    told: int = NOTHING_STORED


@dataclass(kw_only=True, slots=True, frozen=True)
class Arrival:
    """An Episode, and its place and time in the log."""

    partition: int
    log_time: int
    episode: Episode

    @property
    def key(self) -> GroupKey:
        """Its group; an episode without one is a group of its own."""
        return self.episode.project, self.episode.group_id or self.episode.rollout_id


@dataclass(kw_only=True, slots=True, frozen=True)
class Change:
    """A group whose row is to be written; `credits` are to be delivered before it."""

    held: Held
    row_version: int
    credits: Credits | None
    close_by: int


class Groups:
    """Groups of the assigned partitions under one rule and one credit method.

    A take goes: `advance`, `needs` (look these up and `restore` them), `fold`, `settle`, which
    says what to deliver and write, `told`, and `evict` where it is `full` and all of it is durable.
    """

    def __init__(
        self, rule: Rule, method: CreditMethod, patience: GroupPatience, max_held: int = 200_000
    ) -> None:
        self.rule = rule
        self.method = method
        self.patience = patience
        self.max_held = max_held
        """Members and calls kept in memory; the rest is looked up when it is touched."""
        self.counters: Counter[str] = Counter()
        self.asking = ""
        """The episode of which the rule is asked at this moment; '' for none."""
        self._held: OrderedDict[GroupKey, Held] = OrderedDict()
        self._weight = 0
        self._clock: dict[int, int] = {}
        self._deadlines: Deadlines[GroupKey] = Deadlines()
        self._next: dict[int, int] = {}
        self._touched: set[GroupKey] = set()
        self._means = RunningMeans(method.running_mean)

    def __len__(self) -> int:
        return len(self._held)

    @property
    def waiting_groups(self) -> int:
        """Groups that are not decided yet, those that are stubs included."""
        return len(self._deadlines)

    def stub(self, partition: int, key: GroupKey, close_by: int) -> None:
        """An open group that is stored but not held; `close_by` may be too early, never late."""
        self._deadlines.arm(partition, key, close_by)
        self._next = self._deadlines.next()

    def go_on_from(self, partition: int, project: str, running: Running) -> None:
        """How far a partition's running mean of a policy had come, as far as rows tell."""
        self._means.adopt(partition, project, running)

    def advance(self, partition: int, log_time: int) -> None:
        """The partition's log has reached this time, in milliseconds."""
        self._clock[partition] = max(self._clock.get(partition, 0), log_time)

    def needs(self, arrivals: Iterable[Arrival]) -> set[GroupKey]:
        """Groups that this take touches or that are due, and that must be looked up first."""
        touched = {arrival.key for arrival in arrivals}
        for partition, clock in self._clock.items():
            touched.update(self._deadlines.due(partition, clock))
        self._touched |= touched
        return {key for key in touched if key not in self._held}

    def restore(self, held: Held) -> None:
        """Take back a group from its stored row."""
        # Another worker may have gone further in the log: the mean goes on from there.
        self._means.adopt(held.partition, held.state.project, held.state.running)
        self._keep(held)

    def fold(self, arrivals: Iterable[Arrival]) -> None:
        """Take Episodes into their groups; a version that is held already changes nothing."""
        for arrival in arrivals:
            held = self._held.get(arrival.key) or self._open(arrival)
            episode = arrival.episode
            if not held.state.is_news(episode):
                self.counters["duplicates"] += 1
                continue
            self.asking = episode_id(episode.rollout_id, episode.attempt)
            result = reward_of(self.rule, episode)
            self.asking = ""
            self.counters["episodes"] += 1
            if result.reason:
                self.counters[result.reason] += 1
            before = _weight(held.state)
            member = member_of(
                episode,
                result,
                arrival.log_time,
                self.method.roles,
                self.method.call.observe(episode),
            )
            held.state.add(episode, member)
            self._count(held)
            self._weight += _weight(held.state) - before

    def settle(self) -> list[Change]:
        """What the take changed: open rows, and final ones with their Credits."""
        touched, self._touched = self._touched, set()
        changes = []
        for key in sorted(touched):
            held = self._held.get(key)
            if held is None:  # a stub whose row was deleted: nothing is known of it
                continue
            self._held.move_to_end(key)
            state = held.state
            close_by = state.close_by(self.patience)
            final = state.is_final(self._clock.get(held.partition, 0), self.patience)
            if final:
                self._deadlines.disarm(held.partition, key)
            else:
                self._deadlines.arm(held.partition, key, close_by)
            row_version = 2 * state.version + final
            if row_version > held.told:
                credit = credits_of(state, self.method, self.rule.id) if final else None
                changes.append(
                    Change(held=held, row_version=row_version, credits=credit, close_by=close_by)
                )
        self._next = self._deadlines.next()
        return changes

    def told(self, changes: Iterable[Change]) -> None:
        """Changes are on the topic, and their rows on the way."""
        for change in changes:
            change.held.told = change.row_version
            if change.credits is not None:
                self.counters[f"credits.{change.credits.outcome}"] += 1

    @property
    def full(self) -> bool:
        """Whether memory is out of bounds: store all rows that are owed, then `evict`."""
        return self._weight > self.max_held

    def evict(self) -> list[GroupKey]:
        """Forget the groups touched longest ago until an eighth of the memory is free; says which.

        Call it between takes, when all rows are stored: what is forgotten is looked up (rule:
        eviction follows the store).
        """
        forgotten = []
        while self._weight > self.max_held * 7 // 8 and self._held:
            key, held = self._held.popitem(last=False)
            self._weight -= _weight(held.state)
            forgotten.append(key)
        return forgotten

    def next_deadline(self, partition: int) -> int | None:
        """Log time at which a group of the partition is due, or None.

        As of the last `settle`: the host's ticker asks from a thread of its own.
        """
        return self._next.get(partition)

    def _count(self, held: Held) -> None:
        """Give a group of one its place in the running mean, once: with its first reward."""
        state = held.state
        if not self.method.running_mean or state.running.count:
            return
        if (reward := state.reward_alone()) is not None:
            state.running = self._means.counted(held.partition, state.project, state.policy, reward)

    def _open(self, arrival: Arrival) -> Held:
        project, group_id = arrival.key
        held = Held(
            state=GroupState(project=project, group_id=group_id), partition=arrival.partition
        )
        self._keep(held)
        return held

    def _keep(self, held: Held) -> None:
        self._held[held.state.key] = held
        self._weight += _weight(held.state)


def _weight(state: GroupState) -> int:
    return 1 + sum(1 + len(member.calls) for member in state.members.values())
