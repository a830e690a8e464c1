"""A framework's span of a call that the gateway answered gives the call its agent and parent."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.engines.roles import AgentsSettings, roles_of
from headrace.schemas import Call, Span, response_id
from headrace.streams.assemble import contexts
from headrace.streams.credit.members import member_of
from headrace.streams.reward.evaluate import RewardResult
from headrace.streams.stage import LogRecord
from tests.streams.assembling import (
    Producer,
    World,
    call,
    end,
    make_stage,
    one_episode,
    plain,
    record,
    run,
    span_id,
    start,
)
from tests.streams.histories import live_through


def context(number: int, of: int, parent: int = 0, agent: str = "", response: str = "") -> Span:
    facts = Call(
        model="m",
        response_id=response or response_id(span_id(of)),
        prompt_ids=np.zeros(0),
        sampled_ids=np.zeros(0),
        logprobs=np.zeros(0),
    )
    above = span_id(parent) if parent else ""
    return plain(number, "call.context", parent_id=above, agent=agent, call=facts)


def above(number: int, parent: int = 0, agent: str = "") -> Span:
    return plain(number, parent_id=span_id(parent) if parent else "", agent=agent)


def placed(*spans: Span) -> tuple[str, str]:
    """Agent and parent of the one call among some spans."""
    _, episode = one_episode(start(), *spans, end())
    (found,) = episode.calls
    return found.agent, found.parent_id


def test_a_call_gets_agent_and_parent_of_its_context() -> None:
    assert placed(above(10), call(2), context(11, of=2, parent=10, agent="solver")) == (
        "solver",
        span_id(10),
    )


def test_a_context_is_no_call_and_has_no_sample() -> None:
    world, episode = one_episode(start(), call(2), context(11, of=2), end())
    assert [found.span_id for found in episode.calls] == [span_id(2)]
    assert len(world.samples()) == 1
    assert episode.signals == {}


def test_the_agent_that_a_client_named_stays() -> None:
    named = replace(call(2), agent="mine")
    _, episode = one_episode(start(), named, context(11, of=2, parent=10, agent="other"), end())
    assert (episode.calls[0].agent, episode.calls[0].parent_id) == ("mine", span_id(10))


def test_the_agent_is_looked_for_above_where_a_context_names_none() -> None:
    spans = [above(10, agent="outer"), above(11, 10, agent="inner"), above(12, 11)]
    assert placed(*spans, call(2), context(13, of=2, parent=12)) == ("inner", span_id(12))


def test_several_instrumentations_may_have_seen_one_call() -> None:
    spans = [above(10), context(11, of=2, parent=10, agent="solver"), context(12, of=2, parent=11)]
    assert placed(*spans, call(2)) == ("solver", span_id(10))


def test_a_context_in_a_trace_of_its_own_knows_less_than_one_under_other_spans() -> None:
    spans = [above(10, agent="solver"), context(11, of=2, parent=10), context(12, of=2)]
    assert placed(*spans, call(2)) == ("solver", span_id(10))


@pytest.mark.parametrize("prefix", ["resp_", "msg_", "cmpl-"])
def test_whatever_api_was_asked_the_response_names_the_call(prefix: str) -> None:
    told = context(11, of=2, parent=10, agent="solver", response=prefix + span_id(2))
    assert placed(call(2), told) == ("solver", span_id(10))


def test_an_upstreams_response_id_names_its_call_too() -> None:
    told = context(11, of=2, agent="solver", response="theirs")
    assert placed(call(2, response_id="theirs"), told) == ("solver", "")


def test_a_call_that_names_its_parent_needs_no_context() -> None:
    spans = [above(10, agent="solver"), above(11, 10)]
    assert placed(*spans, replace(call(2), parent_id=span_id(11))) == ("solver", span_id(11))


def test_a_context_that_a_call_was_made_in_is_not_its_parent() -> None:
    spans = [above(10), context(11, of=2, parent=10, agent="solver")]
    assert placed(*spans, replace(call(2), parent_id=span_id(11))) == ("solver", span_id(10))


def test_a_parent_that_knows_less_than_a_context_does_not_count() -> None:
    spans = [above(9), above(10, 9, agent="solver"), context(11, of=2, parent=10)]
    assert placed(*spans, replace(call(2), parent_id=span_id(9))) == ("solver", span_id(10))


def test_a_parent_that_never_came_stays_named() -> None:
    assert placed(replace(call(2), parent_id=span_id(99))) == ("", span_id(99))


def test_a_context_of_a_call_of_another_attempt_changes_nothing() -> None:
    assert placed(call(2), context(11, of=3, parent=10, agent="solver")) == ("", "")


def test_spans_of_another_episode_with_the_same_ids_do_not_count() -> None:
    world, producer = World(), Producer("p")
    mine = [start(), above(10, agent="solver"), call(2), context(11, of=2, parent=10), end()]
    theirs = [replace(span, rollout_id="s", agent=span.agent and "judge") for span in mine]
    batch = producer.seal(*theirs, *mine)
    run(make_stage(world), [record(batch, 0, 10)])
    told = {episode.rollout_id: episode.calls[0].agent for episode in world.published()}
    assert told == {"r": "solver", "s": "judge"}


def test_parents_in_a_ring_come_to_an_end() -> None:
    spans = [above(10, 11), above(11, 10), context(12, of=2, parent=11)]
    assert placed(*spans, call(2)) == ("", span_id(11))
    ring = [context(12, of=2, parent=13), context(13, of=2, parent=12)]
    assert placed(*ring, call(2)) == ("", "")


def test_a_call_is_not_its_own_parent() -> None:
    assert placed(call(2), context(11, of=2, parent=2)) == ("", "")


def test_a_late_context_revises_the_episode() -> None:
    world, producer = World(), Producer("p")
    first = producer.seal(start(), call(2), end())
    late = producer.seal(context(11, of=2, parent=10, agent="solver"))
    run(make_stage(world), [record(first, 0, 10)], [record(late, 1, 20)])
    before, after = world.published()
    assert [before.calls[0].agent, after.calls[0].agent] == ["", "solver"]
    assert after.version > before.version
    assert world.samples()[f"r/a/{span_id(2)}/0"].agent == "solver"
    (row,) = world.episodes.values()
    told = {"span_id": span_id(2), "agent": "solver", "parent_id": span_id(10)}
    assert row["contexts"] == [told]


def test_of_a_long_episode_only_contexts_and_what_is_above_them_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[str] = []

    class Counted(contexts.Node):
        __slots__ = ()

        def __init__(self, **facts: Any) -> None:
            super().__init__(**facts)
            made.append(self.span_id)

    monkeypatch.setattr(contexts, "Node", Counted)
    others = [above(number, parent=10) for number in range(100, 20_000)]
    spans = [above(10, agent="solver"), above(11, 10), context(12, of=2, parent=11), *others]
    assert placed(*spans, call(2)) == ("solver", span_id(11))
    assert sorted(made) == [span_id(10), span_id(11), span_id(12)]


def test_it_decides_which_calls_are_trained() -> None:
    spans = [call(2), call(3), context(11, of=2, agent="solver"), context(12, of=3, agent="judge")]
    _, episode = one_episode(start(), *spans, end())
    reward = RewardResult(value=1.0)
    roles, _ = roles_of(("p",), AgentsSettings(entries={"solver": "p", "*": "untrained"}))
    member = member_of(episode, reward, 1, roles, ["", ""])
    assert [c.reason for c in member.calls] == ["", "not_selected"]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Span], random.Random]:
    chance = random.Random(draw(st.integers(0, 2**32)))
    numbers = range(10, 10 + chance.randint(2, 9))
    third = replace(call(3), parent_id=chance.choice(["", *map(span_id, numbers)]))
    spans = [start(), call(2), third, end()]
    for number in numbers:
        parent = chance.choice([0, *numbers])
        agent = chance.choice(["", "", "a", "b"])
        if chance.random() < 0.5:
            spans.append(context(number, chance.choice([2, 3]), parent, agent))
        else:
            spans.append(above(number, parent, agent))
    return spans, chance


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_any_order_cut_and_death_gives_the_same_calls(
    history: tuple[list[Span], random.Random],
) -> None:
    spans, chance = history
    _, whole = one_episode(*spans)
    chance.shuffle(spans)
    producer, at = Producer("p"), 0
    records: list[LogRecord] = []
    while at < len(spans):
        size = chance.randint(1, 4)
        records.append(record(producer.seal(*spans[at : at + size]), len(records), 10))
        at += size

    world = live_through(records, chance, memory_bytes=chance.choice([1, 10**9]), deaths=2, moves=1)

    latest = max(world.published(), key=lambda episode: episode.version)
    assert _places(latest) == _places(whole)


def _places(episode: Any) -> list[tuple[str, str, str]]:
    return [(c.span_id, c.agent, c.parent_id) for c in episode.calls]
