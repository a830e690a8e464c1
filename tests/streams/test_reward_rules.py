"""What a rule may be, how it is named and found, and what becomes of one that misbehaves."""

import math
import sys
from collections import UserDict
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from headrace.schemas import Episode, EpisodeCall, EpisodeReward, EpisodeTool
from headrace.streams.reward import (
    RewardError,
    RewardResult,
    Rule,
    RuleNotFound,
    evaluate,
    load_rule,
    reward,
    span_rule,
    tool_success,
)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("rules_of_a_user")
    monkeypatch.setitem(sys.modules, "rules_of_a_user", made)
    return made


def rewarded(*rewards: tuple[str, float, str]) -> Episode:
    return Episode(
        rollout_id="r",
        attempt="a",
        rewards=[EpisodeReward(name=n, value=v, target=t) for n, v, t in rewards],
    )


def test_a_bare_decorator_names_the_rule_after_its_function() -> None:
    @reward
    def solved(episode: Episode) -> float | None:
        return float(episode.result == episode.expected)

    assert isinstance(solved, Rule)
    assert solved.id == f"solved@{solved.digest}"
    assert solved(Episode(result="3", expected="3")) == 1.0


def test_a_decorator_takes_name_and_version() -> None:
    @reward(name="exact", version=2)
    def solved(episode: Episode) -> float | None:
        return None

    assert solved.id == "exact@2"


def test_an_async_rule_is_refused_with_the_way_out() -> None:
    async def slow(episode: Episode) -> float:
        return 1.0

    with pytest.raises(RewardError, match="append reward spans"):
        Rule(name="slow", version="1", function=slow)  # type: ignore[arg-type]  # the point


def test_a_rule_is_found_by_module_and_name_or_by_module_alone(module: ModuleType) -> None:
    vars(module)["exact"] = rule = Rule(name="exact", version="1", function=lambda _: 1.0)
    vars(module)["plain"] = lambda episode: 0.5
    assert load_rule("rules_of_a_user:exact") is rule
    assert load_rule("rules_of_a_user") is rule
    assert load_rule("rules_of_a_user:plain").name == "plain"


def test_a_module_with_two_rules_must_be_told_which(module: ModuleType) -> None:
    for name in ("one", "two"):
        vars(module)[name] = Rule(name=name, version="1", function=lambda _: 1.0)
    with pytest.raises(RuleNotFound, match=r"\['one', 'two'\]"):
        load_rule("rules_of_a_user")


@pytest.mark.parametrize("text", ["rules_of_a_user:missing", "no.such.module:rule", "", "sys"])
def test_a_rule_that_is_not_there_is_named(module: ModuleType, text: str) -> None:
    with pytest.raises(RuleNotFound):
        load_rule(text)


def test_a_span_rule_takes_the_last_reward_of_its_name() -> None:
    rule = load_rule("reward-span:success")
    episode = rewarded(("success", 0.0, ""), ("other", 5.0, ""), ("success", 1.0, "r/a"))
    assert evaluate(rule, episode).value == 1.0


def test_a_span_rule_leaves_a_call_s_reward_to_the_call() -> None:
    result = evaluate(span_rule("success"), rewarded(("success", 1.0, "r/a/some-call")))
    assert result.pending


def test_weighted_dimensions_are_awaited_until_all_are_there() -> None:
    rule = load_rule("span:a=1.0,b=-0.5")
    assert evaluate(rule, rewarded(("a", 1.0, ""))).pending
    assert evaluate(rule, rewarded(("a", 1.0, ""), ("b", 4.0, ""))).value == -1.0


@pytest.mark.parametrize("text", ["span:a=much", "span:", "span:=1"])
def test_a_span_rule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RewardError):
        load_rule(text)


def test_not_known_yet_is_not_zero() -> None:
    result = evaluate(Rule(name="r", version="1", function=lambda _: None), Episode())
    assert result == RewardResult(value=None, reason="")
    assert result.pending


@pytest.mark.parametrize("value", [1, True, np.float32(1), np.bool_(True), np.int64(1)])
def test_any_finite_number_is_a_reward(value: float) -> None:
    result = evaluate(Rule(name="r", version="1", function=lambda _: value), Episode())
    assert result.value == 1.0
    assert type(result.value) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e31, 10**400, "1", [1.0], 1j])
def test_what_is_no_reward_is_explained_and_never_zero(value: float) -> None:
    result = evaluate(Rule(name="r", version="1", function=lambda _: value), Episode())
    assert result.value is None
    assert not result.pending
    assert result.reason == "reward_invalid"
    assert result.detail


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), RecursionError(), SystemExit(3)])
def test_a_rule_that_raises_is_explained_and_stops_nothing(error: BaseException) -> None:
    def broken(episode: Episode) -> float:
        raise error

    result = evaluate(Rule(name="r", version="1", function=broken), Episode())
    assert result.value is None
    assert result.reason == "rule_error"
    assert result.detail.startswith(type(error).__name__)


def test_a_long_message_of_a_rule_is_cut() -> None:
    def broken(episode: Episode) -> float:
        raise ValueError("line\n" * 1000)

    result = evaluate(Rule(name="r", version="1", function=broken), Episode())
    assert len(result.detail) <= 201
    assert "\n" not in result.detail


def dimensions(
    given: Any, weights: dict[str, float] | None = None, function: Any = None
) -> RewardResult:
    rule = Rule(
        name="r", version="1", function=function or (lambda _: given), weights=weights or {}
    )
    return evaluate(rule, Episode())


def test_dimensions_are_weighed_and_kept_apart() -> None:
    result = dimensions({"right": 1, "calm": 0.5}, {"right": 1.0, "calm": -2.0})
    assert result.value == 0.0
    assert result.dimensions == (("right", 1.0), ("calm", 0.5))
    assert dimensions({"right": 1, "calm": 0.5}).value == 1.5, "without weights each counts once"


@pytest.mark.parametrize("given", [{"right": 1}, {"right": 1, "calm": None}, {}])
def test_a_dimension_that_has_not_come_is_awaited(given: dict[str, Any]) -> None:
    result = dimensions(given, {"right": 1.0, "calm": 1.0})
    assert result.pending
    assert result.dimensions == tuple((name, 1.0) for name in given if name == "right")


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"right": math.nan, "calm": 1}, "right: nan"),
        ({"right": "1", "calm": 1}, "right: a str is no number"),
        ({"right": 9e29, "calm": 9e29}, "1.8e+30"),
        ({"right": 1, "calm": 1, "fast": 1}, "fast: rule r@1 has no weight for it"),
    ],
)
def test_one_bad_dimension_marks_the_episode(given: dict[str, Any], detail: str) -> None:
    result = dimensions(given, {"right": 1.0, "calm": 1.0})
    assert (result.value, result.reason, result.detail) == (None, "reward_invalid", detail)


def test_a_mapping_that_raises_is_a_rule_that_raises() -> None:
    class Broken(UserDict[str, float]):
        def __getitem__(self, name: str) -> float:
            raise RuntimeError("no")

    assert dimensions(None, function=lambda _: Broken(a=1.0)).reason == "rule_error"


def test_weights_are_finite() -> None:
    with pytest.raises(RewardError, match="weight nan of 'a'"):
        Rule(name="r", version="1", function=lambda _: 1.0, weights={"a": math.nan})


def test_a_rule_s_decorator_takes_weights() -> None:
    @reward(weights={"a": 2.0})
    def two(episode: Episode) -> dict[str, float | None]:
        return {"a": 3.0}

    assert evaluate(two, Episode()).value == 6.0


def test_an_evaluation_is_a_reward_of_its_name() -> None:
    """`gen_ai.evaluation.result` becomes a reward span (tests/connectors/mapping)."""
    result = evaluate(load_rule("reward-span:Relevance"), rewarded(("Relevance", 0.75, "")))
    assert result.value == 0.75


CALLS = [EpisodeCall(span_id=f"c{k}", started_at=k) for k in range(3)]
TOOLS = [
    EpisodeTool(parent_id="c0", status="ok"),
    EpisodeTool(parent_id="c0", status="error"),
    EpisodeTool(parent_id="c2", status="ok"),
]


def of_calls(calls: Any) -> RewardResult:
    rule = Rule(name="r", version="1", function=lambda _: 1.0, calls=calls)
    return evaluate(rule, Episode(calls=CALLS, tools=TOOLS))


def test_a_rule_may_give_calls_rewards_of_their_own() -> None:
    assert of_calls(lambda episode: [1, None, 0.5]).calls == (1.0, None, 0.5)
    assert of_calls(tool_success).calls == (0.5, None, 1.0)
    assert of_calls(None).calls == (None, None, None), "no span aims at one"


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        (lambda _: [1.0], "reward_invalid"),
        (lambda _: [1.0, math.nan, None], "reward_invalid"),
        (lambda _: 1 / 0, "rule_error"),
        (lambda _: None, "rule_error"),
    ],
)
def test_bad_rewards_of_calls_mark_the_episode(calls: Any, reason: str) -> None:
    result = of_calls(calls)
    assert (result.value, result.reason, result.calls) == (None, reason, ())
