"""The whole loop on real parts: an agent acts, its telemetry is credited, the model is trained,
and the next calls are answered by the new version. One run, looked at from many sides."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.saved import saved_queries
from headrace.connectors.kafka import KafkaAccess, KafkaConfig, Registry, RegistryAccess, Tailer
from headrace.connectors.runner import Runner, RunnerConfig
from headrace.connectors.tasks import TaskItem, TaskSource, TaskSourceConfig
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.running import running
from headrace.infra.settings import Settings, load
from headrace.schemas import Codec, Outcome, from_avro
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.supervise import Supervisor

POLICY, RULE = "tiny", "variety@3"
GROUP, GROUPS_PER_STEP, STALENESS, VERSIONS = 4, 2, 1, 3
HELD_OUT = 3
DEADLINE_S = 30.0
"""A group whose agents crashed has no rewards, and is decided when they can come no more."""
ULID = r"[0-9A-HJKMNP-TV-Z]{26}"
SPAN = r"[0-9a-f]{16}"
SECONDS = 240.0
PAUSE_S = 0.2


@dataclass(kw_only=True, slots=True, frozen=True)
class Loop:
    """A loop that has trained its versions, and whose every rollout has ended."""

    settings: Settings
    clickhouse: ClickHouse
    supervisor: Supervisor
    evaluated: dict[int, list[str]]
    """Held-out rollouts by the version they were pinned to."""

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return self.clickhouse.query(sql)

    def one(self, sql: str) -> Any:
        (row,) = self.rows(sql)
        (value,) = row.values()
        return value


def settings_of(directory: Path) -> Settings:
    return load(
        environment={},
        overrides={
            "data": {"directory": str(directory / "data")},
            "kafka": {"port": free_port(), "controller_port": free_port()},
            "registry": {"port": free_port()},
            "clickhouse": {"port": free_port()},
            "gateway": {"port": free_port(), "max_batch": 16},
            "otlp": {"port": free_port()},
            "console": {"port": free_port()},
            "policy": {"name": POLICY, "model": str(tiny_llama(directory / "model"))},
            "credit": {
                "rule": "loop_rewards:variety",
                "grace_ms": 3_000,
            },
            "agents": {"writer": POLICY, "critic": "frozen"},
            "trainer": {
                "group_size": GROUP,
                "groups_per_step": GROUPS_PER_STEP,
                "max_staleness": STALENESS,
                "max_versions": VERSIONS,
                "learning_rate": 1e-3,
                "threads": 1,
            },
        },
    )


def tasks() -> Iterator[TaskItem]:
    """Every fifth group asks for something at which all its agents crash."""
    for number in itertools.count(1):
        yield TaskItem(input={"topic": f"thing {number}", "crash": number % 5 == 2})


@contextmanager
def in_thread(run: Callable[[threading.Event], None]) -> Iterator[None]:
    stop, failures = threading.Event(), list[BaseException]()

    def guarded() -> None:
        try:
            run(stop)
        except BaseException as error:  # handed to the test
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    directory = tmp_path_factory.mktemp("loop")
    settings = settings_of(directory)
    runner = Runner(
        RunnerConfig(
            kafka=KafkaAccess(bootstrap=settings.bootstrap),
            registry=RegistryAccess(url=settings.registry_url),
            gateway_url=settings.gateway_url,
            processes=1,
            concurrency=8,
            attempt_timeout_s=DEADLINE_S,
            spool_directory=directory / "spool",
        )
    )
    source = TaskSource(
        TaskSourceConfig(
            kafka=KafkaAccess(bootstrap=settings.bootstrap),
            registry=RegistryAccess(url=settings.registry_url),
            policy=POLICY,
            agent="loop_agent:run",
            group_size=GROUP,
            rollouts_per_step=GROUP * GROUPS_PER_STEP,
            max_staleness=STALENESS,
            deadline_s=DEADLINE_S,
        )
    )
    clickhouse = ClickHouse(settings.clickhouse_config)
    console = Console(quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        # Where the runner's processes find the agent, and the credit stage its rule.
        here = str(Path(__file__).parent)
        patch.syspath_prepend(here)
        patch.setenv("PYTHONPATH", here, prepend=os.pathsep)
        patch.setenv("OMP_NUM_THREADS", "1")
        with running(settings, console=console) as supervisor, in_thread(runner.run):
            try:
                with in_thread(lambda stop: source.run(tasks(), stop)):
                    await_version(clickhouse, VERSIONS)
                items = [TaskItem(input={"topic": f"held out {n}"}) for n in range(HELD_OUT)]
                evaluated = {version: source.send_eval(items, version) for version in (0, VERSIONS)}
                await_all_outcomes(clickhouse)
                yield Loop(
                    settings=settings,
                    clickhouse=clickhouse,
                    supervisor=supervisor,
                    evaluated=evaluated,
                )
            finally:
                source.close()
                clickhouse.close()


def await_version(clickhouse: ClickHouse, version: int) -> None:
    sql = f"SELECT count() AS n FROM policies FINAL WHERE version = {version}"
    wait_until(
        lambda: clickhouse.query(sql)[0]["n"] == 1, f"version {version}", SECONDS, pause_s=PAUSE_S
    )


def await_all_outcomes(clickhouse: ClickHouse) -> None:
    sql = """
        SELECT count() AS open FROM tasks FINAL
        WHERE rollout_id NOT IN (SELECT rollout_id FROM outcomes)
    """
    admitted = "SELECT count() AS n FROM tasks FINAL WHERE split = 'eval'"
    wait_until(
        lambda: (
            clickhouse.query(admitted)[0]["n"] == 2 * HELD_OUT
            and clickhouse.query(sql)[0]["open"] == 0
        ),
        "the end of every rollout",
        SECONDS,
        pause_s=PAUSE_S,
    )


def test_nothing_crashed_and_nothing_was_dead_lettered(loop: Loop) -> None:
    assert {state.name: state.restarts for state in loop.supervisor.states()} == dict.fromkeys(
        (
            "kafka",
            "registry",
            "clickhouse",
            "assemble",
            "credit",
            "sink",
            "trainer",
            "gateway",
            "otlp",
            "console",
        ),
        0,
    )
    assert loop.rows("SELECT * FROM dead_letters") == []
    assert loop.rows("SELECT * FROM drops") == []


def test_ids_are_fixed_by_whoever_emits_and_hang_together(loop: Loop) -> None:
    calls = loop.rows("SELECT rollout_id, attempt, span_id, call_id, response_id FROM calls")
    assert calls
    for call in calls:
        assert re.fullmatch(ULID, call["rollout_id"])
        assert re.fullmatch(ULID, call["attempt"])
        assert re.fullmatch(SPAN, call["span_id"])
        assert call["call_id"] == f"{call['rollout_id']}/{call['attempt']}/{call['span_id']}"
        assert call["response_id"] == f"chatcmpl-{call['span_id']}"
    samples = {row["sample_id"] for row in loop.rows("SELECT sample_id FROM samples")}
    assert samples == {f"{call['call_id']}/0" for call in calls}


def test_the_client_saw_the_ids_that_are_stored_in_the_order_of_its_calls(loop: Loop) -> None:
    episodes = loop.rows("SELECT rollout_id, result FROM episodes FINAL WHERE status = 'ok'")
    found: dict[str, dict[str, str]] = {}
    for call in loop.rows("SELECT rollout_id, agent, response_id FROM calls"):
        found.setdefault(call["rollout_id"], {})[call["agent"]] = call["response_id"]
    assert episodes
    for episode in episodes:
        assert json.loads(episode["result"])["responses"] == found[episode["rollout_id"]]


def test_samples_are_trained_or_dropped_and_none_is_pending(loop: Loop) -> None:
    ledger = {
        (row["split"], row["state"], row["reason"]): row["samples"]
        for row in loop.rows("SELECT * FROM drop_ledger")
    }
    assert sum(ledger.values()) == loop.one("SELECT count() FROM samples")
    assert "pending" not in {state for _, state, _ in ledger}
    assert ledger["train", "trained", ""] == loop.one(
        f"SELECT sum(samples) FROM policies FINAL WHERE policy = '{POLICY}'"
    )
    assert ledger["eval", "dropped", "eval"] == 2 * 2 * HELD_OUT


def test_every_admitted_rollout_ends_once_on_the_topic(loop: Loop) -> None:
    outcomes = read_outcomes(loop.settings)
    assert {o.outcome for o in outcomes} == {"trained", "dropped"}
    assert set(Counter((o.rollout_id, o.sample_id) for o in outcomes).values()) == {1}
    admitted = {row["rollout_id"] for row in loop.rows("SELECT rollout_id FROM tasks FINAL")}
    assert {o.rollout_id for o in outcomes} == admitted
    with_samples = {o.rollout_id for o in outcomes if o.sample_id}
    assert with_samples.isdisjoint(o.rollout_id for o in outcomes if not o.sample_id)
    assert len(outcomes) == loop.one("SELECT count() FROM outcomes FINAL")


def read_outcomes(settings: Settings) -> list[Outcome]:
    registry = Registry(settings.registry_url)
    codec = Codec(registry)
    topic = "headrace.outcomes"
    tailer = Tailer(KafkaConfig(bootstrap=settings.bootstrap), [topic], name="test")
    try:
        found = []
        while not tailer.caught_up:
            messages = tailer.read(0.2)
            found += [from_avro(Outcome, codec.decode(topic, m.value)) for m in messages]
        return found
    finally:
        tailer.close()
        registry.close()


def test_each_version_names_its_parent_its_groups_and_where_it_read(loop: Loop) -> None:
    versions = loop.rows("SELECT * FROM policies FINAL ORDER BY version")
    assert [(v["version"], v["parent"]) for v in versions] == [
        (n, n - 1) for n in range(VERSIONS + 1)
    ]
    assert len({v["config_hash"] for v in versions}) == 1
    assert len({v["weights_hash"] for v in versions}) == VERSIONS + 1
    trained_groups = [group for v in versions for group in v["groups"]]
    assert len(trained_groups) == len(set(trained_groups)) >= VERSIONS * GROUPS_PER_STEP
    assert set(trained_groups) == {
        row["group_id"]
        for row in loop.rows("SELECT DISTINCT group_id FROM outcomes WHERE outcome = 'trained'")
    }
    for version in versions[1:]:
        read = {o["topic"] if isinstance(o, dict) else o[0] for o in version["offsets"]}
        assert read == {"headrace.credits", "headrace.samples"}
        assert Path(version["uri"], "model.safetensors").is_file()


def test_the_gateway_answers_with_the_new_versions_and_nothing_is_born_too_stale(
    loop: Loop,
) -> None:
    trained = f"SELECT DISTINCT version_max AS v FROM calls WHERE policy = '{POLICY}'"
    assert {row["v"] for row in loop.rows(trained)} >= {0, VERSIONS}
    stale = loop.one("SELECT max(staleness) FROM outcomes FINAL WHERE outcome = 'trained'")
    assert stale <= STALENESS


def test_all_three_stages_of_credit_can_be_seen(loop: Loop) -> None:
    groups = loop.rows("SELECT * FROM groups FINAL WHERE outcome = 'train'")
    assert {(g["rule"], g["baseline"]) for g in groups} == {(RULE, "grpo")}
    for group in groups:
        drafts = {
            row["rollout_id"]: json.loads(row["result"])["draft"]
            for row in loop.rows(
                "SELECT rollout_id, result FROM episodes FINAL "
                f"WHERE group_id = '{group['group_id']}'"
            )
        }
        members = loop.rows(f"SELECT * FROM credits WHERE group_id = '{group['group_id']}'")
        rewards = np.array([m["reward"] for m in members])
        # trajectory: the rule's reward of the episode
        assert rewards.tolist() == [len(set(drafts[m["rollout_id"]])) / 32 for m in members]
        # group: GRPO's baseline
        np.testing.assert_allclose(
            [m["advantage"] for m in members],
            (rewards - rewards.mean()) / rewards.std(ddof=1),
            atol=1e-4,
        )
        # calls: the episode's advantage on each of the trained agent's
        advantages = {m["rollout_id"]: m["advantage"] for m in members}
        samples = loop.rows(f"SELECT * FROM samples WHERE group_id = '{group['group_id']}'")
        assert Counter(s["agent"] for s in samples) == {"writer": GROUP, "critic": GROUP}
        for sample in samples:
            frozen = sample["agent"] == "critic"
            assert sample["advantage"] == (0.0 if frozen else advantages[sample["rollout_id"]])


def test_the_frozen_role_and_held_out_rollouts_are_never_trained(loop: Loop) -> None:
    trained = "SELECT DISTINCT agent FROM outcomes FINAL WHERE outcome = 'trained'"
    assert [row["agent"] for row in loop.rows(trained)] == ["writer"]
    frozen = loop.rows(
        "SELECT DISTINCT reason FROM outcomes FINAL WHERE agent = 'critic' "
        "AND group_id IN (SELECT group_id FROM outcomes WHERE outcome = 'trained')"
    )
    assert [row["reason"] for row in frozen] == ["not_selected"]
    for version, rollouts in loop.evaluated.items():
        for rollout in rollouts:
            (ended,) = loop.rows(
                "SELECT DISTINCT outcome, reason FROM outcomes FINAL "
                f"WHERE rollout_id = '{rollout}'"
            )
            assert ended == {"outcome": "dropped", "reason": "eval"}
            calls = loop.rows(
                f"SELECT agent, version_min, version_max FROM calls WHERE rollout_id = '{rollout}'"
            )
            told = {one["agent"]: (one["version_min"], one["version_max"]) for one in calls}
            assert told == {"writer": (version, version), "critic": (0, 0)}


def test_rollouts_whose_agents_crashed_ended_and_gave_their_place_back(loop: Loop) -> None:
    crashed = loop.rows(
        "SELECT t.rollout_id AS rollout_id, o.outcome AS outcome, o.sample_id AS sample_id "
        "FROM (SELECT rollout_id FROM tasks FINAL WHERE input LIKE '%\"crash\": true%') AS t "
        "LEFT JOIN (SELECT * FROM outcomes FINAL) AS o ON o.rollout_id = t.rollout_id"
    )
    assert len(crashed) >= GROUP
    assert {(row["outcome"], row["sample_id"]) for row in crashed} == {("dropped", "")}
    statuses = loop.rows(
        "SELECT DISTINCT status FROM episodes FINAL WHERE rollout_id IN "
        "(SELECT rollout_id FROM tasks FINAL WHERE input LIKE '%\"crash\": true%')"
    )
    assert [row["status"] for row in statuses] == ["error"]


def test_engine_and_trainer_agree_on_the_log_probabilities(loop: Loop) -> None:
    metrics = [row["metrics"] for row in loop.rows("SELECT * FROM policies FINAL")]
    gaps = [dict(m)["logp_gap"] for m in metrics if "logp_gap" in dict(m)]
    assert gaps
    assert max(gaps) < 0.02


def test_every_saved_query_has_an_answer_of_the_loop(loop: Loop) -> None:
    """Nothing halted, was dead-lettered or credited by a second rule; all else has rows."""
    given = {"policy": POLICY, "version": str(VERSIONS), "b": str(VERSIONS)}
    without = []
    for name, query in saved_queries().items():
        known = {key: value for key, value in given.items() if key in query.parameters}
        if not loop.clickhouse.query(query.sql, query.values(known)):
            without.append(name)
    # No span gave a reward, and no agent called a tool that failed.
    assert set(without) <= {"halts", "dead_letters", "compare_rules", "rewards_as_of"}


def test_the_ledger_of_rollouts_balances(loop: Loop) -> None:
    (train,) = loop.rows("SELECT * FROM ledger_balance WHERE split = 'train'")
    assert train["balanced"]
    assert train["asked"] == train["trained"] + train["dropped"] > 0
    (held_out,) = loop.rows("SELECT * FROM ledger_balance WHERE split = 'eval'")
    assert (held_out["balanced"], held_out["evaluated"]) == (True, 2 * HELD_OUT)


def test_a_version_s_lineage_is_the_samples_that_it_says(loop: Loop) -> None:
    for version in loop.rows("SELECT version, samples, groups FROM policies FINAL"):
        (found,) = loop.rows(
            "SELECT count() AS samples, arraySort(groupUniqArray(group_id)) AS groups "
            f"FROM lineage WHERE version = {version['version']}"
        )
        assert found == {"samples": version["samples"], "groups": sorted(version["groups"])}
    assert loop.one(
        f"SELECT count() FROM trained_as_of(policy = '{POLICY}', version = {VERSIONS})"
    ) == loop.one("SELECT count() FROM lineage")
