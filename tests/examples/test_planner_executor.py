"""The example of three agents: how they work together, what each is, and what is trained of it."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from examples.calculator.agent import calculate
from examples.planner_executor import agent
from examples.planner_executor.rewards import PLANNED, solved_as_planned
from examples.planner_executor.tasks import heldout, train
from headrace.connectors.tasks import read_items
from headrace.infra.settings import load
from headrace.schemas import Credits, Episode
from headrace.streams.credit import CreditMethod
from tests.streams.test_group_settle import ROLLOUTS, call, final, groups_of
from tests.streams.test_group_settle import episode as member
from tests.support.model_server import ModelServer, model_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "planner_executor"
TASK = {"question": "Add 12 and 7, then multiply by 3."}
PLAN = "What is 12 plus 7? What is that times 3? Then"
FIRST, THEN = "<calc>12 + 7</calc>", "<calc>19 * 3</calc>"


def played(*says: str) -> tuple[dict[str, Any], ModelServer]:
    with model_server(*says) as model:
        return agent.run(TASK, base_url=f"{model.url}/v1", api_key="k"), model


def test_a_step_is_asked_with_the_result_of_the_step_before() -> None:
    told, model = played(PLAN, FIRST, THEN, "yes")
    assert told == {
        "plan": ["What is 12 plus 7?", "What is that times 3?"],
        "done": ["12 + 7", "19 * 3"],
        "verdicts": ["yes"],
        "result": 57,
    }
    assert model.agents == ["planner", "executor", "executor", "verifier"]
    assert [body["messages"][-1]["content"] for _, body in model.seen] == [
        TASK["question"],
        "What is 12 plus 7?",
        "What is 19 times 3?",
        "Add 12 and 7, then multiply by 3. 12 + 7, 19 * 3",
    ]


def test_where_the_verifier_says_no_the_others_try_once_more() -> None:
    told, model = played(PLAN, FIRST, THEN, "No.", "What is 12 plus 7?", FIRST, "no")
    assert model.agents == [
        *("planner", "executor", "executor", "verifier"),
        *("planner", "executor", "verifier"),
    ]
    assert (told["verdicts"], told["result"]) == (["no", "no"], 19)


@pytest.mark.parametrize(
    ("says", "done"),
    [
        (["I cannot.", "yes"], []),
        (["What is that times 3?", "yes"], []),
        ([PLAN, "It is 19.", "yes"], []),
        ([PLAN, FIRST, "<calc>19 / 3</calc>", "yes"], ["12 + 7"]),
    ],
    ids=["no plan", "a step before the first", "no call", "no value"],
)
def test_what_cannot_be_executed_has_no_result(says: list[str], done: list[str]) -> None:
    told, _ = played(*says)
    assert (told["done"], told["result"]) == (done, None)


def test_a_plan_is_cut_after_its_third_step() -> None:
    told, model = played("What is 1 plus 1? " * 9, "<calc>1 + 1</calc>", *["yes"] * 9)
    assert len(told["plan"]) == agent.STEPS
    assert model.agents.count("executor") == 2  # the second said no call


def test_held_out_tasks_are_fixed_and_never_trained_on() -> None:
    assert heldout(64) == heldout(128)[:64]
    assert [item.input["seed"] for item in heldout(3)] == [0, 1, 2]
    held = {item.input["question"] for item in heldout(1024)}
    assert len(held) == 1024
    assert not held & {item.input["question"] for item in itertools.islice(train(), 20_000)}
    with pytest.raises(ValueError, match="1024"):
        heldout(1025)


def test_the_answers_are_right() -> None:
    signs = {"Add": "+", "Subtract": "-", "Multiply": "*"}
    signs |= {word.lower(): sign for word, sign in signs.items()}
    for item in (*itertools.islice(train(seed=1), 300), *heldout()):
        numbers = [int(word) for word in item.input["question"].rstrip(".").replace(",", "").split()
                   if word.isdigit()]  # fmt: skip
        first, then = (word for word in item.input["question"].split() if word in signs)
        a, b = numbers[:2] if first != "Subtract" else numbers[1::-1]
        value = calculate(f"({a} {signs[first]} {b}) {signs[then]} {numbers[2]}")
        assert value == item.expected, item


def test_its_file_holds_the_first_tasks_of_the_supply() -> None:
    with (EXAMPLE / "tasks.jsonl").open() as lines:
        items = read_items(lines, "tasks.jsonl")
    assert items == list(itertools.islice(train(), len(items)))
    assert len(items) == 200


@pytest.mark.parametrize(
    ("told", "reward"),
    [
        ({"plan": ["a?", "b?"], "done": ["1", "2"], "result": 57}, 1.0),
        ({"plan": ["a?", "b?"], "done": ["1", "2"], "result": 3}, PLANNED),
        ({"plan": ["a?", "b?"], "done": ["1"], "result": None}, 0.0),
        ({"plan": ["a?"], "done": ["1"], "result": 57}, 1 - PLANNED),
    ],
)
def test_the_reward_is_for_the_result_and_a_part_for_the_plan(
    told: dict[str, Any], reward: float
) -> None:
    episode = Episode(status="ok", result=json.dumps(told), expected="57")
    assert solved_as_planned(episode) == pytest.approx(reward)
    assert solved_as_planned(Episode(status="error", result="", expected="57")) == 0.0


def credited(settings: str) -> Credits:
    """A group of four runs, two of them right, under the roles of a settings file."""
    roles = load(EXAMPLE / settings, environment={}).roles
    told, model = played(PLAN, FIRST, THEN, "yes")
    calls = [
        call(f"s{number}", agent=name, policy=(roles.named(name) or roles.others).policy)
        for number, name in enumerate(model.agents)
    ]
    results = [told, {**told, "result": 3}, told, {**told, "result": None}]
    method = CreditMethod(roles=roles)
    return final(
        groups_of(method, solved_as_planned.function),  # type: ignore[arg-type]  # of one number
        *[
            member(rollout, json.dumps(result), expected="57", policy=roles.default, calls=calls)
            for rollout, result in zip(ROLLOUTS, results, strict=True)
        ],
    )


@pytest.mark.parametrize(
    ("settings", "trained"),
    [
        ("settings.toml", {"planner": "planner", "executor": "executor-policy"}),
        ("frozen_planner.toml", {"executor": "executor"}),
        ("frozen_executor.toml", {"planner": "planner"}),
    ],
)
def test_each_agent_is_trained_as_its_own_policy_or_not_at_all(
    settings: str, trained: dict[str, str]
) -> None:
    credits = credited(settings)
    assert credits.outcome == "train"
    told = {(one.agent, one.reason) for one in credits.samples}
    agents = ("planner", "executor", "verifier")
    assert told == {(name, "" if name in trained else "not_selected") for name in agents}
    roles = load(EXAMPLE / settings, environment={}).roles
    assert set(roles.trained) == set(trained.values())
    assert roles.frozen == (roles.default,)


def test_the_agents_of_an_episode_have_its_credit_together() -> None:
    credits = credited("settings.toml")
    for one in credits.members:
        given = [s.advantage for s in credits.samples if one.rollout_id in s.sample_id]
        assert given == pytest.approx([one.advantage] * 3 + [0.0])
