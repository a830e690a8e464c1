"""The recovery example: tools that fail, an agent that goes on, what its rules make of it."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from examples.calculator import tasks as calculator
from examples.recovery import agent
from examples.recovery.rewards import recovery, solved
from examples.recovery.tasks import SHARE, heldout, train
from examples.recovery.tools import DOWN, Calculators
from headrace.connectors.sdk import Attempt, SdkConfig
from headrace.connectors.sdk.emitter import Durability
from headrace.infra.demo import CASES
from headrace.schemas import Episode, Span
from headrace.streams.credit import CreditMethod, Groups
from headrace.streams.reward import Rule, evaluate, reward
from tests.streams.assembling import call, one_episode, start
from tests.streams.test_group_settle import PATIENCE, ROLLOUTS, final
from tests.streams.test_group_settle import episode as member
from tests.support.model_server import model_server

TASK = {"question": "What is 12 plus 7?"}
CALC, BACKUP = "<calc>12 + 7</calc>", "<backup>12 + 7</backup>"


@pytest.mark.parametrize(
    ("down", "error"),
    [("timeout", TimeoutError), ("exception", ConnectionError), ("malformed", ValueError)],
)
def test_a_calculator_that_is_down_fails_in_its_way_and_the_backup_answers(
    down: str, error: type[Exception]
) -> None:
    tools = Calculators(down)
    for _ in range(2):
        with pytest.raises(error, match="calc"):
            tools.use("calc", "12 + 7")
    assert tools.use("backup", "12 + 7") == 19


def test_no_way_leads_around_the_failure() -> None:
    for down in ("", *DOWN):
        with pytest.raises(ConnectionError, match="waits"):
            Calculators(down).use("backup", "12 + 7")
    assert Calculators().use("calc", "12 + 7") == 19
    with pytest.raises(ValueError, match="call calc"):
        Calculators().use("", "It is 19.")


def test_held_out_tasks_fail_each_in_a_way_that_is_fixed() -> None:
    tasks = heldout(64)
    assert tasks == heldout(128)[:64]
    assert set(Counter(task.input["down"] for task in tasks)) == set(DOWN)
    assert [task.input["question"] for task in tasks] == [
        task.input["question"] for task in calculator.heldout(64)
    ]


def test_most_tasks_to_train_fail_and_some_do_not() -> None:
    drawn = list(itertools.islice(train(seed=3), 2_000))
    assert drawn == list(itertools.islice(train(seed=3), 2_000))
    assert drawn[:50] != list(itertools.islice(train(seed=4), 50))
    ways = Counter(task.input["down"] for task in drawn)
    assert set(ways) == {"", *DOWN}
    assert abs(ways[""] / len(drawn) - (1 - SHARE)) < 0.05


@dataclass
class Emitted:
    """Telemetry that keeps what it is given."""

    spans: list[Span] = field(default_factory=list)
    config: SdkConfig = field(
        default_factory=lambda: SdkConfig(bootstrap="", registry_url="http://unused")
    )

    def emit(self, span: Span) -> None:
        self.spans.append(span)

    def emit_durably(self, span: Span, timeout: float = 30.0) -> Durability:
        self.spans.append(span)
        return "delivered"

    async def aemit_durably(self, span: Span, within: float = 30.0) -> Durability:
        return self.emit_durably(span, within)


def played(down: str, *says: str, **task: Any) -> tuple[Episode, list[dict[str, Any]]]:
    """The agent's episode, assembled from the spans of a run with a model that says this; and
    what the model was asked."""
    emitted = Emitted()
    with model_server(*says) as model, Attempt(emitted, "r", "a") as attempt:
        told = agent.run({**TASK, "down": down, **task}, base_url=f"{model.url}/v1", api_key="k")
    attempt.end(told)
    calls = [call(2 + turn, output=said) for turn, said in enumerate(told["said"])]
    _, episode = one_episode(start(expected="19"), *calls, *emitted.spans)
    return episode, [body for _, body in model.seen]


@pytest.mark.parametrize("down", DOWN)
def test_an_agent_that_calls_the_backup_recovers(down: str) -> None:
    episode, asked = played(down, CALC, BACKUP)
    assert json.loads(episode.result) == {"said": [CALC, BACKUP], "result": 19}
    assert asked[1]["messages"][-2] == {"role": "assistant", "content": CALC}
    assert asked[1]["messages"][-1]["content"].startswith("Error: calc ")
    assert [(tool.name, tool.status) for tool in episode.tools] == [
        ("calc", "error"),
        ("backup", "ok"),
    ]
    timeouts = {"timeouts": 1} if down == "timeout" else {}
    assert episode.signals == {"tool_errors": 1, **timeouts}
    assert CASES["recovery"].right <= worth(recovery, episode) < 1


@pytest.mark.parametrize("said", [CALC, "It is 19.", BACKUP, "<backup></backup>"])
def test_an_agent_that_repeats_itself_is_stuck_and_gets_nothing(said: str) -> None:
    episode, asked = played("exception", said)
    assert len(asked) == agent.TURNS
    assert json.loads(episode.result)["result"] is None
    assert episode.signals["tool_errors"] == agent.TURNS
    assert episode.signals["stuck_loops"] >= 1
    assert worth(recovery, episode) == worth(solved, episode) == 0.0


def test_signals_tell_apart_what_the_result_alone_does_not() -> None:
    stuck, _ = played("timeout", CALC)
    varied, _ = played("timeout", CALC, "Hm.", "<backup>12 +</backup>")
    slow, _ = played("timeout", CALC, CALC, BACKUP)
    quick, _ = played("timeout", CALC, BACKUP)
    smooth, _ = played("", CALC)
    each = (stuck, varied, slow, quick, smooth)
    assert [worth(solved, one) for one in each] == [0, 0, 1, 1, 1]
    rewards = [worth(recovery, one) for one in each]
    assert rewards == sorted(set(rewards))
    assert rewards[1] < CASES["recovery"].right <= rewards[2]
    assert rewards[-1] == pytest.approx(1)


def test_each_turn_has_a_seed_of_its_own() -> None:
    _, asked = played("timeout", CALC, seed=5)
    assert [body["seed"] for body in asked] == [15, 16, 17]
    _, asked = played("timeout", CALC)
    assert not any("seed" in body for body in asked)


@pytest.mark.parametrize("rule", [recovery, solved])
@pytest.mark.parametrize(
    "facts",
    [
        {"result": "", "status": "error"},
        {"result": '{"result": 19}'},
        {"result": '{"result": null}', "signals": {"tool_errors": 3, "stuck_loops": 1}},
    ],
    ids=["an agent that always crashes", "tasks that are too easy", "tasks that are too hard"],
)
def test_groups_that_teach_nothing_are_left_out_and_counted(
    rule: Rule, facts: dict[str, Any]
) -> None:
    credits = final(groups(rule), *members([facts] * len(ROLLOUTS)))
    assert credits.outcome == "zero_advantage"
    assert [sample.reason for sample in credits.samples] == ["zero_advantage"] * len(ROLLOUTS)


def test_a_loop_teaches_where_nobody_solved_only_with_the_signals() -> None:
    unsolved = {"result": '{"result": null}'}
    errors = [{"tool_errors": 3, "stuck_loops": 1}] * 3 + [{"tool_errors": 3}]
    facts = [{**unsolved, "signals": signals} for signals in errors]
    credits = final(groups(recovery), *members(facts))
    assert credits.outcome == "train"
    assert [one.advantage > 0 for one in credits.members] == [False, False, False, True]
    assert final(groups(solved), *members(facts)).outcome == "zero_advantage"


@reward(weights={"in_time": 1.0, "solved": 0.0})
def in_time(episode: Episode) -> dict[str, float]:
    """With a loophole: who asks nothing is never late."""
    late = min(1, episode.signals.get("timeouts", 0))
    return {"in_time": 1.0 - late, "solved": worth(solved, episode)}


def test_a_reward_that_is_gamed_shows_in_its_dimensions() -> None:
    honest, _ = played("timeout", CALC, BACKUP)
    silent, _ = played("timeout", "")
    assert worth(in_time, silent) > worth(in_time, honest)
    assert dict(evaluate(in_time, silent).dimensions) == {"in_time": 1.0, "solved": 0.0}
    assert worth(recovery, silent) < worth(recovery, honest)
    assert dict(evaluate(recovery, silent).dimensions) == {"solved": 0.0, "calm": 0.0}


def worth(rule: Rule, episode: Episode) -> float:
    found = evaluate(rule, episode).value
    assert found is not None
    return found


def groups(rule: Rule) -> Groups:
    return Groups(rule, CreditMethod(), PATIENCE)


def members(facts: Sequence[dict[str, Any]]) -> list[Episode]:
    return [
        member(rollout, expected="19", **one) for rollout, one in zip(ROLLOUTS, facts, strict=True)
    ]
