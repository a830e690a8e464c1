"""`headrace canary` on the real log and tables: a new version is tried, and what follows stands."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.gateway.policy.versions import PolicyBook
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer
from headrace.infra.cli import canary as verb
from headrace.infra.cli import traffic as traffic_verb
from headrace.infra.cli.app import WRONG_USE, app
from headrace.schemas import (
    Codec,
    PolicyRecord,
    PolicyVersion,
    Traffic,
    TrafficShare,
    new_ulid,
    to_avro,
)
from tests.integration.clickhouse.rows import NEW, change, episode, group, insert, member
from tests.support.environment import environment_of

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "canary_verb"
TOPIC = "headrace.policies"
SHARE = 0.5
PAIRS = 24
"""Groups of one rollout of each version."""


class OnTrial:
    """A policy of its own on the shared log, its rows, and the verbs."""

    def __init__(self, stack: Stack, clickhouse: ClickHouse, policy: str) -> None:
        self.policy = policy
        self.clickhouse = clickhouse
        self._stack = stack
        self._groups = 0

    def publish(self, version: int, parent: int) -> None:
        registry = Registry(self._stack.registry_url)
        writer = Writer(KafkaConfig(bootstrap=self._stack.bootstrap))
        made = PolicyVersion(policy=self.policy, version=version, parent=parent)
        value = Codec(registry).encode(TOPIC, to_avro(PolicyRecord(version=made)))
        key = f"{self.policy}/version/{version}"
        writer.send([Outgoing(topic=TOPIC, key=key, value=value, partition=0)])
        writer.close()
        registry.close()

    def look(self, *words: str) -> dict[str, Any]:
        asked = ["canary", "--once", "--json", "--share", str(SHARE), "--comparisons", "20", *words]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        report: dict[str, Any] = json.loads(done.stdout)
        assert report["policy"] == self.policy
        return report

    def traffic(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(CliRunner().invoke(app, ["traffic", "--json"]).stdout)
        return found

    def ordinary(self, stable: int, canary: int, *, better: int, state: str = "closed") -> None:
        """Rollouts without a group, of one partition; `better` is that which solved them."""
        drawn, now = self._drawn(canary), int(time.time() * 1000) + 60_000
        about = {"project": self.policy, "policy": self.policy}
        episodes, groups = [], []
        for number in range(PAIRS * 8):
            rollout, at = new_ulid(), now + number
            version = canary if drawn(rollout) else stable
            one = member(
                rollout, float(version == better), version_min=version, version_max=version
            )
            episodes.append(episode(rollout, rollout, log_first=at, state=state, **about))
            groups.append(group(rollout, NEW, at, one, **about))
        insert(self.clickhouse, "episodes", episodes)
        insert(self.clickhouse, "groups", groups)

    def _drawn(self, canary: int) -> Callable[[str], bool]:
        book = PolicyBook(self.policy)
        book.take([PolicyRecord(version=PolicyVersion(policy=self.policy, version=canary))])
        shares = [TrafficShare(version=canary, share=SHARE)]
        book.take([PolicyRecord(traffic=Traffic(policy=self.policy, version=0, shares=shares))])
        return lambda rollout: book.share_of(rollout) is not None

    def answer(self, stable: int, canary: int, *, better: int) -> None:
        """Groups of a rollout of each version; that of `better` is solved, the other is not."""
        drawn = self._drawn(canary)
        now = int(time.time() * 1000) + 60_000  # after what the log says last
        for _ in range(PAIRS):
            self._groups += 1
            rollouts: dict[int, str] = {}
            while len(rollouts) < 2:
                rollout = new_ulid()
                rollouts.setdefault(canary if drawn(rollout) else stable, rollout)
            name = f"{self.policy}-{self._groups}"
            about = {"project": self.policy, "policy": self.policy}
            insert(
                self.clickhouse,
                "episodes",
                [
                    episode(rollout, name, version=version, log_first=now, group_size=2, **about)
                    for version, rollout in rollouts.items()
                ],
            )
            members = [
                member(rollout, float(version == better), version_min=version, version_max=version)
                for version, rollout in rollouts.items()
            ]
            insert(self.clickhouse, "groups", [group(name, NEW, now + 5, *members, **about)])


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    insert(client, "rule_changes", [change(1, NEW)])
    yield client
    client.close()


@pytest.fixture
def on_trial(stack: Stack, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch) -> OnTrial:
    policy = f"on_trial-{new_ulid()}"
    settings = {"HEADRACE_POLICY_NAME": policy, "HEADRACE_CLICKHOUSE_DATABASE": DATABASE}
    for name, value in environment_of(stack, **settings).items():
        monkeypatch.setenv(name, value)
    assert verb.__doc__
    assert traffic_verb.__doc__
    return OnTrial(stack, clickhouse, policy)


@pytest.fixture
def tried(on_trial: OnTrial) -> OnTrial:
    """Version 0 has the name, version 1 a share."""
    assert on_trial.look()["did"] == "", "there is no version yet"
    on_trial.publish(0, parent=-1)
    assert on_trial.look()["did"] == "kept"
    on_trial.publish(1, parent=0)
    report = on_trial.look()
    assert (report["did"], report["version"]) == ("tried", 1)
    assert on_trial.traffic()["shares"] == [{"version": 1, "share": SHARE}]
    report = on_trial.look()
    assert (report["did"], report["finding"], report["comparisons"]) == ("", "open", 0)
    return on_trial


def test_a_version_that_is_worse_is_rolled_back_once_and_never_tried_again(tried: OnTrial) -> None:
    tried.answer(stable=0, canary=1, better=0)
    report = tried.look()
    assert (report["did"], report["finding"], report["version"]) == ("rolled_back", "worse", 1)
    assert report["p_value"] < 0.01
    assert (report["canary_reward"], report["stable_reward"]) == (0.0, 1.0)
    said = tried.traffic()
    assert (said["version"], said["shares"], said["judged"]) == (0, [], 1)
    assert said["said_by"] == "canary"
    assert "version 1 is worse than version 0" in said["why"]
    assert tried.look()["did"] == "", "one that starts again does nothing twice"
    tried.publish(2, parent=0)
    assert (tried.look()["version"], tried.traffic()["shares"][0]["version"]) == (2, 2)


def test_a_version_that_is_not_worse_takes_the_name(tried: OnTrial) -> None:
    tried.answer(stable=0, canary=1, better=1)
    report = tried.look()
    assert (report["did"], report["finding"]) == ("promoted", "passed")
    assert report["undo"] == f"headrace traffic {tried.policy} --version 0"
    said = tried.traffic()
    assert (said["version"], said["shares"], said["judged"]) == (1, [], 1)


def test_rollouts_without_a_group_are_compared_once_they_are_over(tried: OnTrial) -> None:
    tried.ordinary(stable=0, canary=1, better=0, state="open")
    assert tried.look()["comparisons"] == 0
    tried.ordinary(stable=0, canary=1, better=0)
    assert tried.look()["did"] == "rolled_back"


def test_what_cannot_be_is_refused(on_trial: OnTrial) -> None:
    assert on_trial.policy
    for words, told in [
        (("--policy", "nobody"), "there is no policy"),
        (("--share", "1"), "between"),
    ]:
        refused = CliRunner().invoke(app, ["canary", "--once", *words])
        assert refused.exit_code == WRONG_USE
        assert told in refused.output


def test_an_engine_that_serves_one_version_to_all_has_no_canary(
    on_trial: OnTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert on_trial.policy
    monkeypatch.setenv("HEADRACE_GATEWAY_ENGINE", "vllm")
    refused = CliRunner().invoke(app, ["canary", "--once"])
    assert refused.exit_code == WRONG_USE
    assert "one version to all" in refused.output


def test_words_say_what_was_done_and_how_to_take_it_back(on_trial: OnTrial) -> None:
    on_trial.publish(0, parent=-1)
    told = CliRunner().invoke(app, ["canary", "--once"]).stdout
    assert f"{on_trial.policy}@0 kept" in told
    assert f"to take it back, end this and: headrace traffic {on_trial.policy} --newest" in told
