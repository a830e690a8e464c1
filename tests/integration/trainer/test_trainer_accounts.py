"""What the trainer says of every rollout that it does not train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headrace.connectors.kafka import Outgoing, Tailer
from headrace.schemas import Sample
from tests.integration.trainer.bench import CREDITS, SAMPLES, SECONDS, TrainerBench, why
from tests.integration.trainer.records import GROUP


def test_a_group_whose_agents_all_crashed_frees_its_rollouts_and_stalls_nothing(
    bench: TrainerBench,
) -> None:
    crashed, good = bench.group_ids(2)
    whole = bench.credits(crashed)
    member = replace(whole.members[0], status="incomplete", reward=None)
    nothing = replace(
        whole,
        outcome="group_incomplete",
        members=[member],
        missing_rollouts=[f"{crashed}-1"],
        samples=[],
    )
    with bench.trainer():
        bench.await_version(0)
        bench.send_credits(nothing)
        outcomes = bench.await_outcomes(2)  # with no version to ride on
        bench.put(good)
        bench.await_version(1)
    assert why(outcomes) == {
        (f"{crashed}-0", "dropped", "group_incomplete"),
        (f"{crashed}-1", "dropped", "never_started"),
    }
    assert {o.sample_id for o in outcomes} == {""}
    assert len(bench.outcomes()) == 2 + GROUP


def test_poison_goes_to_the_dead_letters_and_the_loop_goes_on(bench: TrainerBench) -> None:
    group, broken = bench.group_ids(2)
    poison = f"poison of {bench.policy}".encode()
    bench.writer.send([Outgoing(topic=CREDITS, value=poison, partition=3)], SECONDS)
    tokens_of_another_model = np.full(4, 1 << 20, "<u4").tobytes()
    credits = bench.credits(broken)
    for sample in credits.samples:
        torn = Sample(
            sample_id=sample.sample_id,
            group_id=broken,
            policy=bench.policy,
            prompt_ids=b"\0\0\0\0",
            sampled_ids=tokens_of_another_model,
            logprobs=np.zeros(4, "<f4").tobytes(),
            run_versions=[0],
            run_lengths=[4],
        )
        bench.writer.send([bench.record(SAMPLES, broken, torn)], SECONDS)
    bench.send_credits(credits)
    with bench.trainer():
        bench.put(group)
        bench.await_version(1)
        outcomes = bench.await_outcomes(2 * GROUP)

    assert {o.reason for o in outcomes if o.group_id == broken} == {"bad_row"}
    letters = Tailer(bench.kafka, [f"{CREDITS}.dlq"], name="test")
    try:
        found = []
        while not letters.caught_up:
            found += [m for m in letters.read(0.1) if m.value == poison]
    finally:
        letters.close()
    headers = dict(found[0].headers)
    assert headers["headrace.error.reason"] == b"malformed"
    assert headers["headrace.error.topic"] == CREDITS.encode()


def test_stale_late_and_surplus_groups_are_accounted(bench: TrainerBench) -> None:
    group, stale, surplus = bench.group_ids(3)
    with bench.trainer(max_staleness=0, max_versions=1):
        (credits,) = bench.put(group)
        bench.await_version(1)
        bench.put(stale, version=0)
        bench.put(surplus, version=1)
        bench.send_credits(replace(credits, version=credits.version + 1))
        bench.await_outcomes(4 * GROUP)
    by_group = {
        one: {(o.outcome, o.reason) for o in bench.outcomes() if o.group_id == one}
        for one in (group, stale, surplus)
    }
    assert by_group[group] == {("trained", ""), ("revised", "revised_after_training")}
    assert by_group[surplus] == {("dropped", "max_versions")}
    assert by_group[stale] <= {("dropped", "max_versions"), ("dropped", "stale")}
    assert [v.version for v in bench.versions()] == [0, 1]


def test_a_stale_group_is_dropped_while_the_trainer_idles(bench: TrainerBench) -> None:
    group, stale = bench.group_ids(2)
    with bench.trainer(max_staleness=0):
        bench.put(group)
        bench.await_version(1)
        bench.put(stale, version=0)
        outcomes = bench.await_outcomes(2 * GROUP)
    assert {o.reason for o in outcomes if o.group_id == stale} == {"stale"}


def test_a_sample_that_never_comes_drops_its_group(bench: TrainerBench) -> None:
    torn, good = bench.group_ids(2)
    with bench.trainer():
        bench.send_credits(bench.credits(torn))
        outcomes = bench.await_outcomes(GROUP)
        bench.put(good)
        bench.await_version(1)
    assert {o.reason for o in outcomes} == {"sample_missing"}
