"""The trainer without what it needs: a log that forgot, a broker that is away."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka import TopicPartition

from headrace.connectors.kafka import LOG_LOST, RESUMED, HaltLog
from tests.integration.trainer.bench import SAMPLES, SECONDS, Bench, end_of, trained
from tests.support.waiting import wait_until


def test_a_log_that_no_longer_holds_what_is_needed_halts_until_the_loss_is_accepted(
    bench: Bench,
) -> None:
    from confluent_kafka.admin import AdminClient

    waiting, group, later = bench.group_ids(3)
    with bench.trainer():
        bench.send_samples(bench.credits(waiting), version=0)  # needed: its credits may come
        bench.put(group)
        bench.await_version(1)
    end = end_of(bench, SAMPLES, 3)
    admin = AdminClient({"bootstrap.servers": bench.stack.bootstrap})
    for future in admin.delete_records([TopicPartition(SAMPLES, 3, end)]).values():
        future.result(SECONDS)
    halts = HaltLog(bench.kafka, bench.codec)
    key = (f"headrace.trainer.{bench.policy}", (SAMPLES, 3))
    with bench.trainer():
        wait_until(lambda: key in halts.read(), "the halt of the trainer", SECONDS)
        halt = halts.read()[key]
        assert (halt.stage, halt.reason, halt.end) == ("trainer", LOG_LOST, end)
        bench.put(later, version=1)
        assert [v.version for v in bench.versions()] == [0, 1]
        halts.write(replace(halt, state=RESUMED))
        bench.await_version(2)
    with bench.trainer():
        bench.put(*bench.group_ids(1), version=2)
        bench.await_version(3)
    halts.close()


def test_a_broker_that_is_away_for_a_while_is_waited_for(bench: Bench) -> None:
    group = bench.group_ids(1)[0]
    with bench.trainer() as running:
        bench.await_version(0)
        bench.stack.kill("kafka")
        bench.put(group)
        bench.await_version(1)
        assert not running.ended()
    assert set(trained(bench.outcomes()).values()) == {1}
