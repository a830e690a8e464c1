"""The calculator example: its tool, its questions, its rule, and the agent against a server."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.calculator import agent
from examples.calculator.rewards import calculator
from examples.calculator.tasks import heldout, train
from headrace.schemas import Episode, EpisodeReward
from tests.support.model_server import ModelServer, model_server


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("12 + 7", 19),
        ("9*4", 36),
        ("3 - 10", -7),
        ("2 + 3 * 4", 14),
        ("-5 - -6", 1),
        ("10 / 2", None),
        ("2 ** 99999999", None),
        ("1.5 + 1", None),
        ("True + 1", None),
        ("__import__('os')", None),
        ("(1).real", None),
        ("", None),
        ("1 +", None),
    ],
)
def test_the_calculator_takes_integers_and_three_operators(
    expression: str, result: int | None
) -> None:
    assert agent.calculate(expression) == result


def test_held_out_questions_are_fixed_and_never_trained_on() -> None:
    questions = [item.input["question"] for item in heldout(64)]
    assert len(set(questions)) == 64
    assert heldout(64) == heldout(128)[:64]
    assert [item.input["seed"] for item in heldout(3)] == [0, 1, 2]
    every_heldout = {item.input["question"] for item in heldout(1024)}
    trained = {item.input["question"] for item in itertools.islice(train(seed=0), 20_000)}
    assert not every_heldout & trained
    with pytest.raises(ValueError, match="1024"):
        heldout(2000)


def test_the_answers_are_right_and_draws_depend_on_the_seed_alone() -> None:
    first = list(itertools.islice(train(seed=1), 200))
    assert first == list(itertools.islice(train(seed=1), 200))
    assert first != list(itertools.islice(train(seed=2), 200))
    signs = {"plus": "+", "minus": "-", "times": "*"}
    for item in (*first, *heldout()):
        _, _, a, word, b = item.input["question"].rstrip("?").split()
        assert 2 <= int(a) <= 99
        assert 2 <= int(b) <= 99
        assert agent.calculate(f"{a} {signs[word]} {b}") == item.expected


def test_the_rule_rewards_the_right_result_and_nothing_of_a_crash() -> None:
    def episode(result: Any, status: str = "ok") -> Episode:
        text = json.dumps({"call": "x", "result": result})
        return Episode(result=text if status == "ok" else "", expected="19", status=status)

    assert calculator(episode(19)) == 1.0
    assert calculator(episode(20)) == 0.0
    assert calculator(episode(None)) == 0.0
    assert calculator(episode(19, status="error")) == 0.0


def test_a_thumb_counts_instead_and_of_several_the_last() -> None:
    def thumbs(*values: float) -> Episode:
        rewards = [EpisodeReward(name="thumbs", value=value) for value in values]
        return Episode(status="ok", result='{"result": 19}', expected="19", rewards=rewards)

    assert [calculator(thumbs(*v)) for v in ((), (-1,), (1,), (-1, 1), (1, -1))] == [1, 0, 1, 1, 0]


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server("<calc>12 + 7</calc>") as server:
        yield server


def test_the_agent_asks_executes_and_returns(model: ModelServer) -> None:
    base_url = f"{model.url}/rollout/r/attempt/a/v1"
    task = {"question": "What is 12 plus 7?", "seed": 5}
    result = agent.run(task, base_url=base_url, api_key="k", model="calculator@3")
    assert result == {"call": "12 + 7", "result": 19}
    ((path, body),) = model.seen
    assert path == "/rollout/r/attempt/a/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"], body["seed"]) == (
        *("calculator@3", 1, 16),
        5,
    )
    assert [m["content"] for m in body["messages"]] == [
        "Answer with one calculator call.",
        "What is 12 plus 7?",
        "<calc>12 + 7</calc>",
        "What is 9 times 4?",
        "<calc>9 * 4</calc>",
        "What is 12 plus 7?",
    ]


def test_an_answer_without_a_call_has_no_result(model: ModelServer) -> None:
    model.says = ["It is 19."]
    result = agent.run({"question": "?"}, base_url=f"{model.url}/v1", api_key="k")
    assert result == {"call": "", "result": None}
    assert "seed" not in model.seen[0][1]


def test_the_agent_knows_nothing_of_headrace() -> None:
    code = (
        "import sys; import examples.calculator.agent; "
        "assert not [m for m in sys.modules if m.startswith('headrace')]"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
