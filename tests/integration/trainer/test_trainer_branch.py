"""After a rollback the trainer goes on from the version that is served, across a restart too."""

from headrace.connectors.kafka import Outgoing
from headrace.schemas import PolicyRecord, Traffic, to_avro
from tests.integration.trainer.bench import POLICIES, SECONDS, TrainerBench
from tests.support.waiting import wait_until


def serve(bench: TrainerBench, version: int) -> None:
    """Keep traffic on a version; -1: on the newest."""
    record = PolicyRecord(traffic=Traffic(policy=bench.policy, version=version))
    value = bench.codec.encode(POLICIES, to_avro(record))
    key = f"{bench.policy}/traffic"
    bench.writer.send([Outgoing(topic=POLICIES, key=key, value=value, partition=0)], SECONDS)


def test_a_rollback_branches_and_a_dead_branchs_samples_say_so(bench: TrainerBench) -> None:
    first, second, dead, third, fourth, fifth = bench.group_ids(6)
    with bench.trainer():
        bench.put(first)
        bench.await_version(1)
        bench.put(second, version=1)
        bench.await_version(2)
        serve(bench, 0)
        bench.put(dead, version=2)
        wait_until(
            lambda: any(o.group_id == dead for o in bench.outcomes()), "the dead group", SECONDS
        )
        bench.put(third, version=0)
        bench.await_version(3)
    assert {o.reason for o in bench.outcomes() if o.group_id == dead} == {"off_branch"}
    with bench.trainer():  # it still knows what is served
        bench.put(fourth, version=0)
        bench.await_version(4)
        serve(bench, -1)
        bench.put(fifth, version=4)
        bench.await_version(5)
    parents = {one.version: one.parent for one in bench.versions()}
    assert parents == {0: -1, 1: 0, 2: 1, 3: 0, 4: 0, 5: 4}
    trained = {o.group_id: o.staleness for o in bench.outcomes() if o.outcome == "trained"}
    assert trained[third] == trained[fourth] == trained[fifth] == 0
