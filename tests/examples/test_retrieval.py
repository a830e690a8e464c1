"""The retrieval example: its knowledge, its questions and its rule."""

import itertools
import json
from collections import Counter

import pytest

from examples.retrieval.knowledge import facts
from examples.retrieval.rewards import FOUND, retrieval
from examples.retrieval.tasks import QUESTIONS, heldout, train
from headrace.schemas import Episode

PASSAGE = "The capital of France is Paris."


def test_a_passage_tells_its_fact() -> None:
    assert len(facts()) > 2000
    assert all(fact.about in fact.passage and fact.value in fact.passage for fact in facts())
    assert len({fact.passage for fact in facts()}) == len(facts())


def test_held_out_questions_are_fixed_and_about_things_that_are_never_trained() -> None:
    questions = heldout(64)
    assert questions == heldout(128)[:64]
    assert [item.input["seed"] for item in questions[:3]] == [0, 1, 2]
    trained = {item.input["question"] for item in itertools.islice(train(), 20_000)}
    assert not trained & {item.input["question"] for item in heldout(512)}
    with pytest.raises(ValueError, match="512"):
        heldout(513)


def test_each_kind_of_question_is_asked_as_often() -> None:
    starts = {question.split("{}")[0]: kind for kind, question in QUESTIONS.items()}
    asked = Counter(
        kind
        for item in itertools.islice(train(), 6_000)
        for start, kind in starts.items()
        if item.input["question"].startswith(start)
    )
    assert set(asked) == set(QUESTIONS)
    assert all(800 < count < 1_200 for count in asked.values())


@pytest.mark.parametrize(
    ("answer", "passages", "reward"),
    [
        ("Paris", [PASSAGE], 1.0),
        (" paris. ", ["another", PASSAGE], 1.0),
        ("Lyon", [PASSAGE], FOUND),
        ("Paris", ["another"], 1 - FOUND),
        ("Paris or Lyon", [], 0.0),
        ("", [], 0.0),
    ],
)
def test_the_reward_is_for_the_answer_and_a_part_of_it_for_the_passage(
    answer: str, passages: list[str], reward: float
) -> None:
    told = json.dumps({"answer": answer, "passages": passages})
    expected = json.dumps({"answer": "Paris", "passage": PASSAGE})
    episode = Episode(status="ok", result=told, expected=expected)
    assert retrieval(episode) == pytest.approx(reward)


def test_a_run_that_crashed_has_no_reward() -> None:
    assert retrieval(Episode(status="error", result="", expected="{}")) == 0.0
