"""`headrace replay` on real parts, beside a live credit stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Tailer, Writer, partitions_of
from headrace.connectors.settings import BadSettings
from headrace.infra.cli.app import NO, WRONG_USE, app
from headrace.infra.cli.replay import replay
from headrace.schemas import (
    Codec,
    Credits,
    CreditsBatch,
    Episode,
    EpisodeBatch,
    EpisodeCall,
    EpisodeReward,
    from_avro,
    new_ulid,
    partition_of,
    to_avro,
)
from tests.support.environment import environment_of
from tests.support.shared_log import readable
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "replay"
RULE = "reward-span:success"
LIVE = ("span:success@1", "uniform/grpo/uniform@3")
RULES = """
from headrace.streams.reward import reward


@reward(version="v2")
def the_other_way(episode):
    return 1.0 - episode.rewards[-1].value if episode.rewards else None
"""
SIZE, GROUPS = 4, 25


class Log:
    """Episodes of one project onto the topic, and its Credits off it."""

    def __init__(self, stack: Stack) -> None:
        self.project = f"replay-{new_ulid()}"
        self.config = KafkaConfig(bootstrap=stack.bootstrap)
        self.registry = Registry(stack.registry_url)
        self.codec = Codec(self.registry)
        self.writer = Writer(self.config)
        self.partitions = partitions_of(self.config, "headrace.episodes")

    def send(self, *episodes: Episode) -> None:
        self.writer.send(
            [
                Outgoing(
                    topic="headrace.episodes",
                    partition=partition_of(one.group_id, self.partitions),
                    value=self.codec.encode(
                        "headrace.episodes", to_avro(EpisodeBatch(episodes=[one]))
                    ),
                )
                for one in episodes
            ]
        )

    def episode(self, group: str, number: int, *rewards: float, version: int = 9) -> Episode:
        return Episode(
            project=self.project,
            rollout_id=f"{group}-r{number}",
            attempt="a",
            group_id=group,
            group_size=SIZE,
            policy="p",
            version=version,
            status="ok",
            calls=[
                EpisodeCall(span_id=f"{k:016x}", policy="p", agent="solver", trainable=True)
                for k in range(number + 1)
            ],
            rewards=[EpisodeReward(name="success", value=value) for value in rewards],
        )

    def group(self, name: str) -> list[Episode]:
        at = int(name[1:])
        return [self.episode(name, r, float((at + r) % 3)) for r in range(SIZE)]

    def credits(self, rule: str) -> list[Credits]:
        tailer = Tailer(self.config, ["headrace.credits"], name="test-replay")
        found: list[Credits] = []
        try:
            while not tailer.caught_up:
                for message in tailer.read(0.5):
                    record = readable(self.codec, "headrace.credits", message.value)
                    found += from_avro(CreditsBatch, record or {"credits": []}).credits
        finally:
            tailer.close()
        return [one for one in found if one.project == self.project and one.rule == rule]


@pytest.fixture
def log(stack: Stack) -> Iterator[Log]:
    made = Log(stack)
    yield made
    made.writer.close()
    made.registry.close()


class Live:
    """A credit stage at work, and commands beside it."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.directory = directory
        self.clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
        migrate.apply(self.clickhouse)
        self.group = f"replay-{new_ulid()}"
        self.environment = environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_CREDIT_RULE=RULE,
            HEADRACE_RUN_DIRECTORY=directory,
            HEADRACE_DATA_DIRECTORY=directory / "data",
            HEADRACE_WORKER=self.group,
            HEADRACE_GROUP=self.group,
        )
        self.process = start_stage("credit", self.environment, directory / "credit.log")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.clickhouse.close()

    def await_versions(self, log: Log, versions: Mapping[str, int]) -> None:
        """Until the live rows have these versions of groups."""
        wait_until(
            lambda: {**self._versions(log), **versions} == self._versions(log),
            f"the live stage ({self.directory}/credit.log)",
        )

    def _versions(self, log: Log) -> dict[str, int]:
        rows = self.rows(log, *LIVE)
        return {row["group_id"]: row["version"] for row in rows if row["state"] == "final"}

    def replayed(self, log: Log, rule: str, credit: str) -> list[dict[str, Any]]:
        return self.rows(log, rule, credit, table="replays")

    def rows(self, log: Log, rule: str, credit: str, table: str = "groups") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.clickhouse.query_arrow(
            f"SELECT * FROM {table} FINAL WHERE project = {{project:String}}"
            " AND rule = {rule:String} AND credit = {credit:String} ORDER BY group_id",
            {"project": log.project, "rule": rule, "credit": credit},
        ).to_pylist()
        return rows

    def run(self, *words: str) -> Result:
        environment = {k: v for k, v in self.environment.items() if k.startswith("HEADRACE_")}
        return CliRunner().invoke(
            app, ["replay", *words, "--credit-group", self.group], env=environment
        )

    def replay(self, *words: str) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def rule(self, module: str, text: str) -> str:
        """A rule of a module of the user's, in the folder where commands are given."""
        (self.directory / f"{module}.py").write_text(text, encoding="utf-8")
        return f"{module}:the_other_way"


@pytest.fixture(scope="module")
def worker(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    made = Live(stack, tmp_path_factory.mktemp("replay"))
    yield made
    made.stop()


@pytest.fixture
def live(worker: Live, monkeypatch: pytest.MonkeyPatch) -> Live:
    assert replay.__doc__  # the verb is there
    monkeypatch.chdir(worker.directory)
    worker.rule("other_rules", RULES)
    return worker


NEW = ("the_other_way@v2", LIVE[1])


def fill(log: Log, live: Live) -> dict[str, int]:
    """Groups, re-sent episodes, late rewards and a group that is not complete; live versions."""
    versions = {}
    for number in range(GROUPS):
        name = f"g{number}"
        group = log.group(name)
        log.send(*group[: SIZE - 1 if number == 7 else SIZE])
        versions[name] = 9 * SIZE
        if number % 5 == 0:
            log.send(group[1], log.episode(name, 2, 3.0, version=11))
            versions[name] += 2
    del versions["g7"]
    live.await_versions(log, versions)
    return versions


def test_a_replay_under_the_live_rules_says_exactly_what_live_said(log: Log, live: Live) -> None:
    fill(log, live)
    before = live.rows(log, *LIVE)
    report = live.replay()
    assert (report["rule"], report["credit"]) == LIVE
    assert live.replayed(log, *LIVE) == before == live.rows(log, *LIVE)
    told = report["episodes"]
    changed = {name: number for name, number in told.items() if name.endswith("_changed")}
    assert told["episodes"] >= GROUPS - 1
    assert set(changed.values()) == {0}


def test_other_rules_stand_beside_the_live_ones_and_live_goes_on(log: Log, live: Live) -> None:
    versions = fill(log, live)
    before = live.rows(log, *LIVE)
    report = live.replay("--rules", "other_rules:the_other_way", "--sql")
    assert (report["rule"], report["credit"]) == NEW
    assert live.rows(log, *LIVE) == before
    now = {row["group_id"]: row for row in live.replayed(log, *NEW)}
    assert len(now) == GROUPS
    for row in before:
        same = {(m["rollout_id"], m["episode_version"]) for m in row["members"]}
        members = now[row["group_id"]]["members"]
        assert {(m["rollout_id"], m["episode_version"]) for m in members} == same
        was = {m["rollout_id"]: m["reward"] for m in row["members"]}
        assert {m["rollout_id"]: 1.0 - m["reward"] for m in members} == was
    # The live stage goes on, and the next replay takes only what is new.
    log.send(*log.group("g100"))
    live.await_versions(log, {**versions, "g100": 9 * SIZE})
    again = live.replay("--rules", "other_rules:the_other_way")
    assert {
        row["group_id"]: row for row in live.replayed(log, *NEW) if row["group_id"] != "g100"
    } == now
    assert again["counts"]["duplicates"] >= GROUPS * SIZE - 1
    assert again["counts"]["episodes"] < report["counts"]["episodes"]
    # What a person sees, and asks again.
    assert report["episodes"]["reward_changed"] >= len(versions)
    assert report["biggest"]
    asked = live.clickhouse.query(report["sql"]["episodes"])[0]
    assert asked["reward_changed"] >= report["episodes"]["reward_changed"]
    shown = live.run("--rules", "other_rules:the_other_way")
    assert "biggest changes" in shown.output
    assert "reward by policy" in shown.output


def test_published_credit_is_a_revision_that_is_sent_once(log: Log, live: Live) -> None:
    versions = fill(log, live)
    words = ("--rules", "other_rules:the_other_way", "--publish")
    assert live.replay(*words)["published"] >= len(versions)
    sent = log.credits(NEW[0])
    assert {one.group_id: one.version for one in sent} == {
        group: version + 1 for group, version in versions.items()
    }
    assert len(sent) == len(versions)
    rows = {row["group_id"]: row for row in live.replayed(log, *NEW)}
    for one in sent:
        members = {m["rollout_id"]: m["advantage"] for m in rows[one.group_id]["members"]}
        assert {m.rollout_id: m.advantage for m in one.members} == members
    live.replay(*words)
    assert _named(log.credits(NEW[0])) == _named(sent)
    # A late reward makes a version that outvotes the revision, and its replay one that outvotes it.
    log.send(log.episode("g1", 3, 7.0, version=11))
    live.await_versions(log, {"g1": 9 * SIZE + 2})
    assert live.replay(*words)["published"] >= 1
    assert _named(log.credits(NEW[0])) == sorted([*_named(sent), ("g1", 9 * SIZE + 3)])


def _named(credits: list[Credits]) -> list[tuple[str, int]]:
    """The groups and versions of Credits, which come in any order of partitions."""
    return sorted((one.group_id, one.version) for one in credits)


def test_a_time_takes_whole_groups_however_early_they_began(log: Log, live: Live) -> None:
    fill(log, live)
    (row,) = live.clickhouse.query("SELECT max(log_last) + 1 AS at FROM groups FINAL")
    since = int(str(row["at"]))
    log.send(*log.group("g200"), log.episode("g3", 0, 9.0, version=13))
    live.await_versions(log, {"g200": 9 * SIZE, "g3": 9 * SIZE + 4})
    begin = live.clickhouse.query(
        "SELECT toString(fromUnixTimestamp64Milli({at:Int64}, 'UTC')) AS at", {"at": since}
    )[0]["at"]
    live.replay("--rules", "other_rules:the_other_way", "--from", f"{begin}+00:00")
    found = live.replayed(log, *NEW)
    assert {row["group_id"]: row["version"] for row in found} == {"g200": 36, "g3": 40}
    assert [len(row["members"]) for row in found] == [SIZE, SIZE]


def test_a_replay_that_ended_early_goes_on_to_the_same_end(log: Log, live: Live) -> None:
    fill(log, live)
    (row,) = live.clickhouse.query(
        "SELECT toString(fromUnixTimestamp64Milli(toInt64(avg(log_last)), 'UTC')) AS middle"
        " FROM groups FINAL WHERE project = {project:String}",
        {"project": log.project},
    )
    words = ("--rules", "other_rules:the_other_way")
    live.replay(*words, "--until", f"{row['middle']}+00:00")
    assert len(live.replayed(log, *NEW)) < GROUPS
    live.replay(*words)
    whole = live.replay(*words, "--token", "discounted(0.5)")
    [one, other] = (live.replayed(log, NEW[0], credit) for credit in (NEW[1], whole["credit"]))
    assert [row["members"] for row in one] == [row["members"] for row in other]
    assert len(one) == GROUPS


def test_a_changed_rule_under_its_old_version_is_refused(log: Log, live: Live) -> None:
    log.send(*log.group("g1"))
    live.await_versions(log, {"g1": 9 * SIZE})
    live.replay("--rules", "other_rules:the_other_way")
    changed = RULES.replace("1.0 -", "2.0 -")
    refused = live.run("--rules", live.rule("changed_rules", changed))
    assert refused.exit_code == WRONG_USE
    assert "the_other_way@v2 is not what it was" in refused.output
    unnamed = changed.replace('(version="v2")', "")
    assert live.replay("--rules", live.rule("unnamed_rules", unnamed))["rule"] != NEW[0]


def test_wrong_use_says_what_to_write(live: Live) -> None:
    for words, told in [
        (("--from", "yesterday"), "write 90m, 12h, 7d"),
        (("--rules", "nowhere:rule"), "cannot import"),
    ]:
        refused = live.run(*words)
        assert refused.exit_code == WRONG_USE
        assert told in refused.output
    unknown = live.run("--credit", "magic")
    assert isinstance(unknown.exception, BadSettings)
    assert "choose one of" in str(unknown.exception)
    assert live.run("--publish").exit_code == WRONG_USE
    assert live.run("--until", "2001-01-01").exit_code == NO
