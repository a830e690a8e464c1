"""The whole loop on real parts: an agent acts, its telemetry is credited, the model is trained,
and the next calls are answered by the new version. One run, looked at from many sides."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from headrace.connectors.clickhouse.saved import saved_queries
from headrace.connectors.kafka import KafkaConfig, Registry, Tailer
from headrace.infra.settings import Settings
from headrace.schemas import Codec, Outcome, from_avro
from tests.e2e.loop import (
    GROUP,
    GROUPS_PER_STEP,
    HELD_OUT,
    POLICY,
    RULE,
    STALENESS,
    VERSIONS,
    Loop,
    trained_loop,
)

ULID = r"[0-9A-HJKMNP-TV-Z]{26}"
SPAN = r"[0-9a-f]{16}"


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    with trained_loop(tmp_path_factory.mktemp("loop")) as made:
        yield made


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
