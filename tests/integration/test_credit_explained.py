"""`headrace credit explain` and the running mean, on rows of the real table `groups`."""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.cli.app import NO, app
from headrace.infra.cli.credit import credit_app  # registers the verb
from headrace.schemas import Episode, EpisodeCall, EpisodeReward
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.credit.running import Running
from headrace.streams.credit.store import GroupStore
from headrace.streams.reward import load_rule

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "credit_explained"
RULE = load_rule("span:right=1.0,style=0.5")


@pytest.fixture
def clickhouse(stack: "Stack") -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.command(f"DROP DATABASE {DATABASE}")
    client.close()


@pytest.fixture
def explained(
    stack: "Stack", clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", stack.clickhouse_url)
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_DATABASE", DATABASE)
    assert credit_app.info.help
    return lambda *words: CliRunner().invoke(app, ["credit", "explain", *words])


def episode(rollout: str, right: float, **facts: Any) -> Episode:
    given: dict[str, Any] = {"group_id": "g", "group_size": 2} | facts
    calls = [
        EpisodeCall(
            span_id=f"s{k}", policy="p", agent="solver", trainable=k == 0, completion_tokens=3,
            untrainable_reason="" if k == 0 else "greedy", input=f"question {rollout[0]}{k}",
        )
        for k in range(2)
    ]  # fmt: skip
    rewards = [
        EpisodeReward(name="right", value=right),
        EpisodeReward(name="style", value=1.0),
        EpisodeReward(name="right", value=0.25, target="s0"),
    ]
    return Episode(
        rollout_id=rollout, attempt="a", policy="p", status="ok", version=7, calls=calls,
        rewards=rewards, **given,
    )  # fmt: skip


def write(clickhouse: ClickHouse, method: CreditMethod, *episodes: Episode) -> GroupStore:
    groups = Groups(RULE, method, GroupPatience())
    arrivals = [Arrival(partition=3, log_time=1, episode=one) for one in episodes]
    groups.needs(arrivals)
    groups.fold(arrivals)
    store = GroupStore(clickhouse, rule=RULE.id, credit=method.id)
    store.write(store.rows(groups.settle()))
    return store


def test_an_episode_s_return_is_told_down_to_its_tokens(
    clickhouse: ClickHouse, explained: Callable[..., Result]
) -> None:
    method = CreditMethod(call_name="to_go", baseline_name="dr_grpo", token_name="discounted(0.5)")
    write(clickhouse, method, episode("r0", 1.0), episode("r1", 0.0))
    shown = explained("r0/a")
    assert shown.exit_code == 0
    assert [line.strip() for line in shown.output.splitlines()] == [
        f"episode r0/a: rule span:right=1.0,style=0.5@1, credit {method.id}",
        "return 1.5 of right 1, style 1",
        "group g: train, 2 of 2 rollouts, baseline dr_grpo (mean 1, deviation 0.707107)",
        "advantage +0.5, used",
        "call 1 solver: reward 0.25, advantage +0.5",
        "3 tokens, +0.125 the first to +0.5",
        "call 2 solver: advantage +0",
        "3 tokens, not trained: greedy",
    ]


def test_a_program_reads_the_same_as_json(
    clickhouse: ClickHouse, explained: Callable[..., Result]
) -> None:
    write(clickhouse, CreditMethod(call_name="gigpo"), episode("r0", 1.0), episode("s1", 0.0))
    (line,) = explained("r0", "--json").output.splitlines()
    told = json.loads(line)
    assert told["dimensions"] == {"right": 1.0, "style": 1.0}
    assert (told["observed_calls"], told["observed_alone"]) == (4, 4)
    first, second = told["calls"]
    assert first["first_token"] == first["last_token"] == first["advantage"] == told["advantage"]
    assert (second["trainable"], second["reason"], second["last_token"]) == (False, "greedy", None)


def test_an_open_group_is_said_to_be_open(
    clickhouse: ClickHouse, explained: Callable[..., Result]
) -> None:
    write(clickhouse, CreditMethod(), episode("r0", 1.0))
    assert "group g is open: it is not credited yet" in explained("r0/a").output


def test_an_unknown_episode_is_an_error(explained: Callable[..., Result]) -> None:
    assert explained("nobody/a").exit_code == NO


def test_a_worker_finds_where_the_running_means_of_its_partitions_stand(
    clickhouse: ClickHouse,
) -> None:
    alone = [
        episode(f"r{i}", right, group_id="", group_size=1) for i, right in enumerate([1.0, 0.0])
    ]
    store = write(clickhouse, CreditMethod(running_mean=10), *alone)
    assert store.running_means([3]) == [(3, "default", Running(policy="p", count=2, after=1.0))]
    assert store.running_means([0, 1]) == []
    held = {each.state.group_id: each for each in store.look_up([("default", "r1")])}
    assert held["r1"].state.running == Running(policy="p", count=2, before=1.5, after=1.0)
