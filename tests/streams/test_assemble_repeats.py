"""A span sent again changes nothing, whoever sends it: its batch's number is no hole."""

import random
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headrace.schemas import Reward, Span, Start, partition_of
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.reward.span_rule import span_rule
from headrace.streams.stage import LogRecord
from tests.streams.assembling import (
    AGE,
    PARTITIONS,
    Producer,
    World,
    end,
    make_stage,
    plain,
    record,
    reward,
    run,
    start,
)
from tests.streams.histories import live_through

THUMBS = Reward(name="thumbs", value=1.0)


def fold(*values: bytes, memory_bytes: int = 1 << 30, restarts: bool = False) -> World:
    """What the records make, each in a take of its own."""
    world = World()
    stage = make_stage(world, memory_bytes=memory_bytes)
    for offset, value in enumerate(values):
        run(stage, [record(value, offset, 10 + offset)])
        if restarts:
            stage = make_stage(world)
            run(stage, assigned=True)
    return world


@pytest.mark.parametrize("memory_bytes", [1, 1 << 30])
@pytest.mark.parametrize("restarts", [False, True])
def test_feedback_sent_twice_by_one_producer_leaves_no_hole(
    memory_bytes: int, restarts: bool
) -> None:
    agent, user = Producer("agent"), Producer("user")
    world = fold(
        agent.seal(start(), end()),
        *(user.seal(reward(50)) for _ in range(3)),
        user.seal(reward(51)),
        memory_bytes=memory_bytes,
        restarts=restarts,
    )
    assert all(episode.complete for episode in world.published())
    assert [len(episode.rewards) for episode in world.published()][-1] == 2
    (row,) = world.episodes.values()
    assert (row["complete"], row["missing_batches"], row["n_spans"]) == (True, 0, 4)
    assert len(world.spans) == 4, "every span once"


def test_another_incarnation_that_begins_with_a_repetition_leaves_no_hole() -> None:
    agent, first, second = Producer("agent"), Producer("user-1"), Producer("user-2")
    world = fold(
        agent.seal(start(), end()),
        first.seal(reward(50)),
        second.seal(reward(50)),
        second.seal(reward(51)),
        memory_bytes=1,
    )
    assert {e.version: e.complete for e in world.published()} == {5: True, 7: True, 11: True}


def test_a_repetition_by_itself_makes_no_revision() -> None:
    agent = Producer("agent")
    whole = agent.seal(start(), end())
    world = fold(whole, agent.seal(end()), whole, agent.seal(start()))
    assert [episode.version for episode in world.published()] == [5]


def test_a_batch_that_never_came_is_still_a_hole_beside_repeated_ones() -> None:
    agent, user = Producer("agent"), Producer("user")
    user.seal(reward(49))  # lost on its way
    world = fold(agent.seal(start(), end()), user.seal(end()), user.seal(reward(51)))
    assert [episode.missing_batches for episode in world.published()] == [0, 1]


def test_a_repetition_that_overtook_nothing_closes_the_hole_it_left() -> None:
    agent, user = Producer("agent"), Producer("user")
    again, late = user.seal(end()), user.seal(reward(51))
    world = fold(agent.seal(start(), end()), late, again)
    assert [e.missing_batches for e in world.published()] == [0, 1, 0]
    assert len({e.version for e in world.published()}) == 3


Batch = tuple[str, bytes, bytes | None]
"""Rollout, the record, and the record of a world where nothing is sent again (None: none)."""


@st.composite
def logs(
    draw: st.DrawFn,
) -> tuple[list[LogRecord], list[LogRecord], random.Random]:
    """A log in the order of its producers, none lost, with and without repetitions."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    rollouts = tuple(f"r{i}" for i in range(chance.randint(1, 3)))
    queues = [_Agent(one, rollouts, chance).batches() for one in rollouts]
    log: list[LogRecord] = []
    plainly: list[LogRecord] = []
    offsets, now = [0] * PARTITIONS, 0
    while queues := [queue for queue in queues if queue]:
        rollout, value, without = chance.choice(queues).pop(0)
        now += chance.choice([0, 1, 10])
        home = partition_of(rollout, PARTITIONS)
        log.append(record(value, offsets[home], now, rollout))
        if without is not None:
            plainly.append(record(without, offsets[home], now, rollout))
        offsets[home] += 1
    ticks = [
        record(None, offsets[home], now + 10 * AGE, partition=home, tick=True)
        for home in range(PARTITIONS)
    ]
    return log + ticks, plainly + ticks, chance


class _Agent:
    """What sends one episode: producers, each with a twin that sends nothing twice."""

    def __init__(self, rollout: str, group: tuple[str, ...], chance: random.Random) -> None:
        self.rollout = rollout
        self.start = Start(group_id="g", group_size=len(group), group_rollouts=group)
        self.chance = chance
        self.producers: list[tuple[Producer, Producer]] = []
        self.sent: list[Span] = []
        self.values: list[bytes] = []
        for _ in range(3):
            self.another()

    def another(self) -> tuple[Producer, Producer]:
        name = f"{self.rollout}-{len(self.producers)}"
        self.producers.append((Producer(name), Producer(name)))
        return self.producers[-1]

    def batches(self) -> list[Batch]:
        chance, rollout = self.chance, self.rollout
        numbers = range(100, 100 + chance.randint(0, 4))
        right = Reward(name="right", value=1.0)
        spans = [
            plain(1, "attempt.start", rollout, start=self.start),
            *(plain(i, "tool", rollout) for i in range(2, chance.randint(2, 8))),
            plain(99, "attempt.end", rollout),
            *(plain(i, "reward", rollout, reward=right) for i in numbers),
        ]
        found: list[Batch] = []
        while spans:
            some, spans = spans[: (size := chance.randint(1, 3))], spans[size:]
            producer, twin = chance.choice(self.producers)
            # What comes again beside something new takes no number of its own.
            mixed = chance.sample(self.sent, k=min(len(self.sent), chance.choice([0, 0, 1])))
            self.values.append(producer.seal(*some, *mixed))
            found.append((rollout, self.values[-1], twin.seal(*some)))
            self.sent += some
            while chance.random() < 0.5:
                found.append((rollout, self.again(), None))
        return found

    def again(self) -> bytes:
        """Sent again by a producer that lives, by another incarnation, or byte by byte."""
        some = self.chance.sample(self.sent, k=self.chance.randint(1, min(3, len(self.sent))))
        way = self.chance.choice(["producer", "incarnation", "raw"])
        if way == "raw":
            return self.chance.choice(self.values)
        new = way == "incarnation"
        producer, _ = self.another() if new else self.chance.choice(self.producers)
        self.values.append(producer.seal(*some))
        return self.values[-1]


def facts(world: World) -> dict[Any, dict[str, Any]]:
    """The rows of `episodes`, without the version."""
    return {
        key: row | {"version": 0, "signals": sorted(row["signals"])}
        for key, row in world.episodes.items()
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from([1, 4_000, 1 << 30]), st.integers(0, 3))
def test_any_history_with_repetitions_ends_as_it_would_without(
    given_logs: tuple[list[LogRecord], list[LogRecord], random.Random],
    memory_bytes: int,
    deaths: int,
) -> None:
    log, without, chance = given_logs
    world = live_through(log, chance, memory_bytes=memory_bytes, deaths=deaths, moves=1)
    plainly = World()
    run(make_stage(plainly), without, assigned=True)
    assert facts(world) == facts(plainly)
    assert set(world.spans) == set(plainly.spans), "every span once"

    contents: dict[tuple[str, int], set[str]] = defaultdict(set)
    for episode in world.published():
        assert episode.complete, "what is whole is so in every revision"
        contents[episode.rollout_id, episode.version].add(repr(episode))
    assert all(len(found) == 1 for found in contents.values()), "one content for each version"


def credited(world: World) -> list[str]:
    """What became of the groups, snapshot after snapshot of their episodes."""
    groups = Groups(span_rule("right"), CreditMethod(), GroupPatience())
    found = []
    for at, episode in enumerate(world.published()):
        arrivals = [Arrival(partition=0, log_time=at, episode=episode)]
        groups.advance(0, at)
        groups.needs(arrivals)
        groups.fold(arrivals)
        changes = groups.settle()
        groups.told(changes)
        found += [change.credits.outcome if change.credits else "open" for change in changes]
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.sampled_from([1, 1 << 30]), st.integers(0, 2))
def test_a_group_that_was_credited_never_falls_back_in_any_history_with_repetitions(
    given_logs: tuple[list[LogRecord], list[LogRecord], random.Random],
    memory_bytes: int,
    deaths: int,
) -> None:
    log, _, chance = given_logs
    world = live_through(log, chance, memory_bytes=memory_bytes, deaths=deaths, moves=1)
    outcomes = credited(world)
    first = next((at for at, one in enumerate(outcomes) if one != "open"), None)
    assume(first is not None)  # a member without a reward is waited for
    assert not {"open", "group_incomplete"} & set(outcomes[first:])


@pytest.mark.parametrize("memory_bytes", [1, 1 << 30])
def test_a_credited_group_stays_credited_when_feedback_is_sent_twice(memory_bytes: int) -> None:
    world, user, agent = World(), Producer("user"), Producer("agent")
    facts = Start(group_id="g", group_size=2, group_rollouts=("r0", "r1"))
    batches = [
        *(
            agent.seal(
                plain(1, "attempt.start", rollout, start=facts),
                plain(2, "reward", rollout, reward=Reward(name="right", value=value)),
                plain(99, "attempt.end", rollout),
            )
            for rollout, value in (("r0", 0.0), ("r1", 1.0))
        ),
        *(user.seal(plain(50, "reward", "r0", reward=THUMBS)) for _ in range(2)),
        user.seal(plain(51, "reward", "r0", reward=Reward(name="stars", value=5.0))),
    ]
    stage = make_stage(world, memory_bytes=memory_bytes)
    homes = [partition_of(rollout, PARTITIONS) for rollout in ("r0", "r1", "r0", "r0", "r0")]
    for offset, (value, home) in enumerate(zip(batches, homes, strict=True)):
        run(stage, [record(value, offset, 10 + offset, partition=home)])

    assert credited(world) == ["open", "train", "train", "train"], "thumbs and stars are revisions"
