"""Feedback as a span: what it may be, and that one id counts once."""

import math

import pytest

from headrace.connectors.feedback import (
    Answered,
    BadFeedback,
    Feedback,
    Place,
    place_of_episode,
)
from headrace.schemas import response_id

PLACE = Place(project="shop", rollout_id="r", attempt="a", span_id="0123456789abcdef")


def test_it_is_a_reward_of_the_episode_or_of_the_call() -> None:
    given = Feedback(name="thumbs", value=-1)
    span = given.span(PLACE)
    assert (span.project, span.rollout_id, span.attempt, span.kind) == ("shop", "r", "a", "reward")
    assert span.reward is not None
    assert (span.reward.name, span.reward.value) == ("thumbs", -1)
    assert (span.reward.source, span.reward.target) == ("user", "")
    of_call = given.span(PLACE, of_call=True).reward
    assert of_call is not None
    assert of_call.target == PLACE.span_id


def test_one_id_is_one_span_of_an_episode() -> None:
    first, again = (Feedback(name="n", value=1, id="form 7").span(PLACE) for _ in range(2))
    elsewhere = Place(project="shop", rollout_id="r", attempt="b")
    assert first.span_id == again.span_id
    assert Feedback(name="n", value=1, id="form 7").span(elsewhere).span_id != first.span_id
    assert Feedback(name="n", value=1).span(PLACE).span_id != first.span_id


@pytest.mark.parametrize(
    ("field", "facts"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "thümbs"}),
        ("name", {"name": "x" * 129}),
        ("source", {"source": "\n"}),
        ("value", {"value": math.nan}),
        ("value", {"value": math.inf}),
        ("value", {"value": 1e30}),
        ("id", {"id": "x" * 513}),
    ],
)
def test_what_can_be_no_reward_is_refused_by_its_field(
    field: str, facts: dict[str, object]
) -> None:
    with pytest.raises(BadFeedback) as refused:
        Feedback(**({"name": "n", "value": 1.0} | facts))  # type: ignore[arg-type]  # by name
    assert refused.value.field == field


def test_an_answer_is_found_in_its_project_while_it_is_remembered() -> None:
    answered = Answered(most=2)
    for number in range(3):
        answered.add(
            Place(project="shop", rollout_id=f"r{number}", attempt="a", span_id=f"{number:016x}")
        )
    assert answered.find("shop", response_id(f"{0:016x}")) is None, "only the last two are kept"
    found = answered.find("shop", response_id(f"{2:016x}"))
    assert found is not None
    assert found.episode == "r2/a"
    assert answered.find("blog", response_id(f"{2:016x}")) is None
    assert answered.find("shop", "gen-of-another-server") is None


@pytest.mark.parametrize("text", ["", "r", "r/", "/a", "r/a/b", "r /a"])
def test_an_episode_is_written_as_rollout_and_attempt(text: str) -> None:
    with pytest.raises(BadFeedback, match="ROLLOUT/ATTEMPT"):
        place_of_episode("default", text)
