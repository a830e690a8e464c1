"""Conversations of clients that say of no call where it belongs: never merged, never guessed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.gateway.correlation.conversations import (
    MOST,
    REMEMBERED,
    Conversation,
    Conversations,
    How,
)

IDLE = 10.0
PLENTY = 10**9


@dataclass
class Agent:
    """A client with one conversation, which knows what its calls truly belong to."""

    name: int
    said: tuple[str, ...] = ()
    last: float = 0.0
    pending: tuple[Conversation, tuple[str, ...]] | None = None
    episodes: list[Conversation] = field(default_factory=list)


def keys(said: Sequence[str]) -> list[bytes]:
    """Of the answers in what was said: questions and answers take turns."""
    return ["\n".join(said[:end]).encode() for end in range(len(said) - len(said) % 2, 0, -2)]


class World:
    """Agents that talk at once, and what is said of their calls."""

    def __init__(self, agents: int, max_bytes: int = PLENTY) -> None:
        self.known = Conversations(idle_s=IDLE, max_bytes=max_bytes)
        self.agents = [Agent(name) for name in range(agents)]
        self.how: Counter[How] = Counter()
        self.now = 0.0
        self.drawn = 0

    def ask(self, agent: Agent, question: str) -> How:
        said = (*agent.said, question)
        found, how = self.known.find(keys(agent.said), self.now)
        if found is None:
            self.drawn += 1
            found = Conversation(f"r{self.drawn}", "a", self.now)
        agent.pending = (found, said)
        agent.episodes.append(found)
        self.how[how] += 1
        return how

    def answer(self, agent: Agent, text: str) -> None:
        assert agent.pending is not None
        found, said = agent.pending
        agent.said, agent.pending, agent.last = (*said, text), None, self.now
        self.known.answered(found, keys(agent.said)[:1], self.now)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["hi", "go on"]),
        st.sampled_from(["yes", "no"]),
        st.sampled_from([0.0, 0.0, 1.0, IDLE * 0.9, IDLE * 3]),
        st.booleans(),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_interleaved_conversations_are_never_merged(
    steps: list[tuple[int, str, str, float, bool]],
) -> None:
    world = World(5)
    owners: dict[Conversation, set[tuple[int, int]]] = {}
    begun = Counter[int]()
    for who, question, text, pause, leaves in steps:
        world.now += pause
        agent = world.agents[who]
        if agent.pending is not None:
            world.answer(agent, text)
            continue
        # Who was away for longer than anything is remembered might be taken for another.
        if leaves or world.now - agent.last > REMEMBERED * IDLE:
            agent.said = ()
            begun[who] += 1
        how = world.ask(agent, question)
        assert (how is How.NEW) is (not agent.said)
        owners.setdefault(agent.episodes[-1], set()).add((who, begun[who]))
    assert all(len(names) == 1 for names in owners.values())


@given(
    order=st.lists(st.integers(0, 3), min_size=8, max_size=40),
    pauses=st.lists(st.floats(0, IDLE / 8), min_size=40, max_size=40),
)
def test_conversations_that_differ_are_one_episode_each(
    order: list[int], pauses: list[float]
) -> None:
    world = World(4)
    for step, (who, pause) in enumerate(zip(order, pauses, strict=False)):
        world.now += pause
        agent = world.agents[who]
        if agent.said and world.now - agent.last > IDLE:
            continue
        world.ask(agent, "hi")  # all begin alike, and are answered differently
        world.answer(agent, f"{agent.name}: {step}")
    for agent in world.agents:
        assert len(set(agent.episodes)) <= 1
    assert world.how[How.AMBIGUOUS] == 0


def two_alike() -> World:
    world = World(3)
    for agent in world.agents[:2]:
        assert world.ask(agent, "hi") is How.NEW
        world.answer(agent, "hello")
    return world


def test_two_that_are_equal_so_far_are_ambiguous_and_part_there() -> None:
    world = two_alike()
    first, second, _ = world.agents
    assert world.ask(first, "a") is world.ask(second, "b") is How.AMBIGUOUS
    for agent in (first, second):
        world.answer(agent, "yes")
        assert world.ask(agent, "more") is How.EXTENDED
        assert agent.episodes[1] is agent.episodes[2]
    assert len({*first.episodes, *second.episodes}) == 4


def test_both_ways_that_one_conversation_goes_on_are_its_own() -> None:
    world = World(1)
    [agent] = world.agents
    world.ask(agent, "hi")
    world.answer(agent, "hello")
    before = agent.said
    for question in ("a", "b"):
        agent.said = before
        assert world.ask(agent, question) is How.EXTENDED
        world.answer(agent, "yes")
    assert len(set(agent.episodes)) == 1


def test_what_was_idle_for_too_long_is_not_gone_on_with_nor_forgotten_at_once() -> None:
    world = two_alike()
    first, _, third = world.agents
    world.now = IDLE + 1
    assert world.ask(first, "a") is How.AMBIGUOUS
    world.now = IDLE * REMEMBERED + 1
    world.ask(third, "hi")
    world.answer(third, "hello")
    assert world.ask(third, "a") is How.EXTENDED  # the others are forgotten
    world.answer(third, "b")
    world.now += IDLE + 1
    assert world.ask(third, "c") is How.IDLE


def test_time_goes_on_with_each_call_of_a_conversation() -> None:
    world = World(1)
    [agent] = world.agents
    for _ in range(5):
        world.ask(agent, "hi")
        world.now += IDLE * 0.6
        world.answer(agent, "hello")
        world.now += IDLE * 0.6
    assert world.how == {How.NEW: 1, How.EXTENDED: 4}


def test_many_that_are_equal_cost_no_more_than_some() -> None:
    world = World(MOST + 1)
    sizes = []
    for agent in world.agents:
        world.ask(agent, "hi")
        world.answer(agent, "hello")
        sizes.append(world.known.size)
    assert sizes[-1] == sizes[-2] < sizes[0] * MOST
    for agent in world.agents:
        assert world.ask(agent, "a") is How.AMBIGUOUS


@pytest.mark.parametrize("max_bytes", [0, 1000, 5000])
@given(steps=STEPS)
def test_memory_is_bounded(max_bytes: int, steps: list[tuple[int, str, str, float, bool]]) -> None:
    world = World(5, max_bytes)
    for who, question, text, pause, _ in steps:
        world.now += pause * IDLE
        world.ask(world.agents[who], question)
        world.answer(world.agents[who], text)
        assert 0 <= world.known.size <= max_bytes
    if not max_bytes:
        assert set(world.how) <= {How.NEW}
