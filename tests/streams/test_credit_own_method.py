"""A call method of one's own: it sees the group, the facts of its calls, and what it noted."""

import numpy as np
import pytest

from headrace.schemas import Credits, Episode, EpisodeCall
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.call import Array, CallMethod, CreditedGroup
from headrace.streams.credit.registry import CALL_METHODS
from headrace.streams.credit.table import held_of, rows_of
from headrace.streams.reward import Rule

ROLLOUTS = ["r0", "r1", "r2"]
RULE = Rule(name="result", version="1", function=lambda episode: float(episode.result))


def same_question(group: CreditedGroup) -> list[Array]:
    """The reward against the mean of all calls of the group that were asked the same."""
    rewards: dict[str, list[float]] = {}
    for one in group.episodes:
        for call in one.calls:
            rewards.setdefault(call.observed, []).append(one.reward)
    return [
        np.array([one.reward - np.mean(rewards[call.observed]) for call in one.calls])
        for one in group.episodes
    ]


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> CreditMethod:
    anchored = CallMethod(
        name="same_question",
        advantages=same_question,
        observe=lambda episode: [call.input for call in episode.calls],
    )
    more = {**CALL_METHODS.plain, "same_question": anchored}
    monkeypatch.setattr("headrace.streams.credit.method.CALL_METHODS", with_plain(more))
    return CreditMethod(call_name="same_question")


def with_plain(plain: dict[str, CallMethod]) -> object:
    return type(CALL_METHODS)(stage=CALL_METHODS.stage, plain=plain, made=CALL_METHODS.made)


def episode(rollout: str, result: str, *asked: str) -> Episode:
    return Episode(
        rollout_id=rollout,
        attempt="a",
        group_id="g",
        group_size=len(ROLLOUTS),
        group_rollouts=ROLLOUTS,
        policy="p",
        version=5,
        status="ok",
        result=result,
        calls=[
            EpisodeCall(span_id=f"s{i}", policy="p", trainable=True, input=text)
            for i, text in enumerate(asked)
        ],
    )


def groups_of(method: CreditMethod) -> Groups:
    return Groups(RULE, method, GroupPatience())


def credited(groups: Groups, *episodes: Episode) -> Credits:
    groups.fold([Arrival(partition=0, log_time=1, episode=one) for one in episodes])
    groups.needs([Arrival(partition=0, log_time=1, episode=one) for one in episodes])
    (change,) = groups.settle()
    assert change.credits is not None
    return change.credits


EPISODES = [episode("r0", "1", "x", "y"), episode("r1", "0", "x"), episode("r2", "1", "y")]


def test_a_method_compares_the_calls_of_a_group_by_what_it_noted_of_them(
    method: CreditMethod,
) -> None:
    credits = credited(groups_of(method), *EPISODES)
    assert credits.credit == "same_question/grpo/uniform@3"
    assert [(s.sample_id, s.advantage) for s in credits.samples] == [
        ("r0/a/s0/0", 0.5),
        ("r0/a/s1/0", 0.0),
        ("r1/a/s0/0", -0.5),
        ("r2/a/s0/0", 0.0),
    ]


def test_what_it_noted_is_kept_with_the_group(method: CreditMethod) -> None:
    first = groups_of(method)
    arrivals = [Arrival(partition=0, log_time=1, episode=one) for one in EPISODES[:2]]
    first.needs(arrivals)
    first.fold(arrivals)
    (row,) = rows_of(first.settle(), RULE.id, method.id).to_pylist()
    second = groups_of(method)
    second.restore(held_of(row))
    assert credited(second, EPISODES[2]) == credited(groups_of(method), *EPISODES)


def test_calls_may_tell_apart_what_episodes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first_only = CallMethod(
        name="first",
        advantages=lambda group: [np.eye(1, len(one.calls))[0] for one in group.episodes],
    )
    monkeypatch.setattr(
        "headrace.streams.credit.method.CALL_METHODS", with_plain({"first": first_only})
    )
    method = CreditMethod(call_name="first")
    credits = credited(groups_of(method), *[episode(r, "1", "x", "y") for r in ROLLOUTS])
    assert credits.outcome == "train"
    assert [s.advantage for s in credits.samples] == [1.0, 0.0] * 3
