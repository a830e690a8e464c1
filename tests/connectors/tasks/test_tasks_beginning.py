"""Where a task source begins to read: what it then knows is what it would know of the whole log."""

import random
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.tasks import TaskSourceConfig
from headrace.connectors.tasks.beginning import BACK_MS, SKEW_MS, beginning
from headrace.connectors.tasks.following import Following
from tests.connectors.tasks.test_tasks_following import Clock, Record, outcome, task, version

HOUR, MINUTE = 3_600_000, 60_000
GROUP, STEP, STALENESS = 2, 4, 1


def begun(published: dict[int, int], **settings: Any) -> tuple[int, int] | None:
    return beginning(published, **{"max_staleness": 1, "deadline_s": 600.0, **settings})


def test_what_ended_before_the_versions_that_count_is_not_read() -> None:
    hourly = {number: number * HOUR for number in range(9)}
    assert begun(hourly) == (6 * HOUR - BACK_MS - SKEW_MS, 5)
    assert begun(hourly, max_staleness=3) == (4 * HOUR - BACK_MS - SKEW_MS, 3)
    assert begun(hourly, deadline_s=7_200.0) == (6 * HOUR - 4 * HOUR - SKEW_MS, 2)


def test_where_nothing_says_what_is_over_all_is_read() -> None:
    hourly = {number: number * HOUR for number in range(9)}
    assert begun({}) is None
    assert begun({0: 0, 1: HOUR}) is None
    assert begun(hourly, deadline_s=0.0) is None
    assert begun({number: number * MINUTE for number in range(9)}) is None


class World:
    """A source, agents that end within ten minutes and a trainer, a minute a turn."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.config = TaskSourceConfig(
            kafka=KafkaAccess(bootstrap="b"),
            registry=RegistryAccess(url="http://r"),
            policy="p",
            group_size=GROUP,
            rollouts_per_step=STEP,
            max_staleness=STALENESS,
        )
        self.source = Following(replace(self.config, pause_after=1 << 30), Clock())
        self.log: list[tuple[int, Record]] = []
        self.published: dict[int, int] = {}
        self._running: dict[str, int] = {}
        self._ready: dict[str, int] = {}
        self._born: dict[str, int] = {}
        self._now, self._newest, self._asked = 0, -1, 0
        self._publish()

    def turn(self) -> None:
        self._now += MINUTE
        self.source.settle()
        for _ in range(self.source.groups() * GROUP):
            name = f"r{self._asked}"
            self._asked += 1
            self._born[name] = self._newest
            self._running[name] = self._now + self._chance.choice([1, 1, 1, 2, 10]) * MINUTE
            self._write(task(name))
        for name in [one for one, until in self._running.items() if until <= self._now]:
            del self._running[name]
            if self._chance.random() < 0.2:
                self._write(outcome(name, "group_incomplete"))
            else:
                self._ready[name] = self._born[name]
        for name in [one for one, born in self._ready.items() if born < self._newest - STALENESS]:
            del self._ready[name]
            self._write(outcome(name, "stale"))
        if len(self._ready) >= STEP:
            self._step()

    def _step(self) -> None:
        for name in sorted(self._ready, key=lambda one: self._ready[one])[:STEP]:
            del self._ready[name]
            self._write(outcome(name, step=self._newest + 1))
        self._publish()

    def _publish(self) -> None:
        self._newest += 1
        self.published[self._newest] = self._now
        self._write(version(self._newest))

    def _write(self, record: Record) -> None:
        self.log.append((self._now, record))
        self.source.take(*record)


@given(st.integers(0, 1 << 32), st.integers(200, 500))
@settings(max_examples=100, deadline=None)
def test_it_asks_for_the_same_as_one_that_has_read_the_whole_log(seed: int, turns: int) -> None:
    world = World(random.Random(seed))
    for _ in range(turns):
        world.turn()
    world.source.settle()
    since = beginning(world.published, max_staleness=STALENESS, deadline_s=600.0)
    assert since is not None
    again = Following(world.config, Clock())
    again.begin(since.version)
    read = [record for log_time, record in world.log if log_time >= since.log_time]
    assert len(read) < len(world.log)
    for record in [version(number) for number in world.published] + read:
        again.take(*record)
    again.settle()
    assert again.admission.running == world.source.admission.running
    assert again.admission.capacity() == world.source.admission.capacity()
