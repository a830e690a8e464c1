"""Admission: never over capacity, never stalled, each slot freed once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.tasks import Admission, TasksMisconfigured, TaskSourceConfig

STEP, STALENESS, GROUP = 6, 1, 3


def admission() -> Admission:
    return Admission(rollouts_per_step=STEP, max_staleness=STALENESS, group_size=GROUP)


def test_nothing_is_admitted_before_there_is_a_version() -> None:
    core = admission()
    assert core.groups() == 0
    core.published(0)
    assert core.capacity() == (STALENESS + 1) * STEP


def test_only_whole_groups_are_admitted() -> None:
    core = admission()
    core.published(0)
    core.admitted(f"r{i}" for i in range(10))
    assert core.capacity() == 2
    assert core.groups() == 0


def test_a_dropped_rollout_gives_its_slot_back_and_a_trained_one_waits_for_the_version() -> None:
    core = admission()
    core.published(0)
    core.admitted(f"r{i}" for i in range(12))
    for i in range(6):
        core.outcome(f"r{i}", trained=False)
    core.settle()
    assert core.capacity() == 6
    core.admitted(f"s{i}" for i in range(6))
    for i in range(6):
        core.outcome(f"s{i}", trained=True)
    assert core.capacity() == 0
    core.published(1)
    assert core.capacity() == 6


def test_a_rollout_with_many_samples_counts_once_and_is_accepted_if_one_was_trained() -> None:
    core = admission()
    core.published(0)
    core.admitted(["r"])
    for trained in (False, True, False, True):
        core.outcome("r", trained=trained)
    assert (core.running, core.accepted) == (0, 1)
    core.admitted(["r"])  # its task, read late
    assert core.running == 0


def test_a_rollout_is_not_free_between_its_dropped_and_its_trained_sample() -> None:
    core = admission()
    core.published(0)
    core.admitted(f"r{i}" for i in range(12))
    core.outcome("r0", trained=False)
    assert (core.running, core.capacity()) == (12, 0)
    core.outcome("r0", trained=True)
    core.settle()
    assert (core.running, core.accepted, core.dropped, core.capacity()) == (11, 1, 0, 0)


def test_short_steps_do_not_build_up_a_queue() -> None:
    core = admission()
    core.published(7)  # seven steps that trained nobody we know of
    assert core.capacity() == (STALENESS + 1) * STEP


def test_a_version_seen_before_its_outcomes_admits_no_more_than_after_them() -> None:
    early, late = admission(), admission()
    for core in (early, late):
        core.published(0)
        core.admitted(f"r{i}" for i in range(12))
    early.published(1)
    assert early.capacity() == 0
    for core in (early, late):
        for i in range(6):
            core.outcome(f"r{i}", trained=True)
    late.published(1)
    assert early.capacity() == late.capacity() == 6


class Loop(RuleBasedStateMachine):
    """A source, its runners and a trainer, with everything that may happen to a rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.core = admission()
        self.version = 0
        self.next = 0
        self.running: set[str] = set()
        self.queue: list[str] = []
        self.accepted = 0
        self.core.published(0)

    @rule()
    def admit_what_may_start(self) -> None:
        for _ in range(self.core.groups()):
            group = [f"r{self.next + i}" for i in range(GROUP)]
            self.next += GROUP
            self.core.admitted(group)
            self.running.update(group)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def a_rollout_is_ready_for_training(self, data: st.DataObject) -> None:
        rollout = data.draw(st.sampled_from(sorted(self.running)))
        if rollout not in self.queue:
            self.queue.append(rollout)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), again=st.booleans())
    def a_rollout_is_dropped(self, data: st.DataObject, again: bool) -> None:
        rollout = data.draw(st.sampled_from(sorted(self.running)))
        self.running.discard(rollout)
        self.queue = [each for each in self.queue if each != rollout]
        for _ in range(1 + again):
            self.core.outcome(rollout, trained=False)
        self.core.settle()

    @precondition(lambda self: len(self.queue) >= STEP)
    @rule()
    def the_trainer_takes_a_step(self) -> None:
        batch, self.queue = self.queue[:STEP], self.queue[STEP:]
        self.version += 1
        self.core.published(self.version)
        for rollout in batch:
            self.running.discard(rollout)
            self.accepted += 1
            self.core.outcome(rollout, trained=True)

    @precondition(lambda self: self.running)
    @rule()
    def every_agent_of_every_group_crashes(self) -> None:
        for rollout in sorted(self.running):
            self.core.outcome(rollout, trained=False)
        self.core.settle()
        self.running.clear()
        self.queue.clear()
        assert self.core.groups() >= STEP // GROUP  # the loop does not stall

    @invariant()
    def no_rollout_is_born_stale(self) -> None:
        limit = (STALENESS + self.version + 1) * STEP
        assert self.accepted + len(self.running) <= limit
        assert len(self.running) <= (STALENESS + 1) * STEP
        assert self.core.running == len(self.running)
        assert self.core.accepted == self.accepted

    @invariant()
    def there_is_always_something_to_do(self) -> None:
        # Enough runs for a step, or a group may start.
        assert len(self.running) >= STEP or self.core.groups() > 0


Loop.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLoop = Loop.TestCase


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy", ""),
        ("agent", "noname"),
        ("group_size", 0),
        ("max_staleness", -1),
        ("rollouts_per_step", 3),
        ("pause_after", 0),
    ],
)
def test_a_bad_setting_is_named(field: str, value: object) -> None:
    good: dict[str, object] = {
        "kafka": KafkaAccess(bootstrap="b"),
        "registry": RegistryAccess(url="http://r"),
        "policy": "p",
        "agent": "m:f",
    }
    with pytest.raises(TasksMisconfigured, match=field):
        TaskSourceConfig(**(good | {field: value}))  # type: ignore[arg-type]  # that is the test


def test_rollouts_that_ended_long_ago_take_no_memory_and_still_count() -> None:
    core = Admission(rollouts_per_step=2, max_staleness=0, group_size=1)
    for i in range(30_000):
        core.admitted([f"r{i}"])
        core.outcome(f"r{i}", trained=i % 2 == 0)
        if i % 100 == 99:
            core.settle()
    assert (core.running, core.accepted, core.dropped) == (0, 15_000, 15_000)
    assert len(core._over) <= 10_000
