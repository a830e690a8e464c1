"""An attempt that infrastructure ended, from the runner's spans to the member of its group."""

from dataclasses import replace

import pytest

from headrace.schemas import Episode, Span
from headrace.streams.credit.members import reward_of
from headrace.streams.reward import Rule
from tests.streams.assembling import end, one_episode, plain, start

RULE = Rule(name="one", version="1", function=lambda _: 1.0)


def event(name: str, number: int = 5) -> Span:
    return replace(plain(number, "event"), name=name)


def attempt(*spans: Span) -> Episode:
    _, episode = one_episode(start(), *spans)
    return episode


@pytest.mark.parametrize("name", ["worker_died", "runner_stopped", "never_run", "retried"])
def test_the_runners_event_is_a_signal_and_means_infrastructure(name: str) -> None:
    episode = attempt(event(name), end(status="error"))
    assert episode.signals == {name: 1}
    assert reward_of(RULE, episode).reason == "infrastructure"


def test_an_attempt_without_an_end_is_cut_off_as_well_once_its_runner_said_so() -> None:
    episode = replace(attempt(event("runner_stopped"), end()), status="unset", closed_by="idle")
    assert reward_of(RULE, episode).reason == "infrastructure"


def test_a_runner_that_never_ended_its_attempt_is_gone() -> None:
    unended = replace(attempt(end()), status="unset", closed_by="idle")
    assert reward_of(RULE, replace(unended, deadline=1_000)).reason == "infrastructure"
    assert reward_of(RULE, unended).value == 1.0, "without a task nobody owes an end"


@pytest.mark.parametrize(
    "spans",
    [
        [replace(plain(5, "exception"), status="error"), end(status="error")],
        [event("deadline"), end(status="error")],
        [replace(plain(5, "tool"), name="worker_died"), end(status="error")],
        [event("worker_died"), end(status="ok")],
    ],
    ids=["crash", "deadline", "a tool of that name", "went on"],
)
def test_what_an_agent_causes_is_a_result(spans: list[Span]) -> None:
    assert reward_of(RULE, attempt(*spans)).value == 1.0
