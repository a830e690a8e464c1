"""The trainer without what it needs: a log that forgot, a broker that is away."""

from __future__ import annotations

from dataclasses import replace

from confluent_kafka import TopicPartition

from headrace.connectors.kafka import (
    HALTED,
    LOG_LOST,
    POISON,
    RESUMED,
    HaltLog,
    Outgoing,
    PoisonSettings,
)
from tests.integration.trainer.bench import CREDITS, SAMPLES, SECONDS, TrainerBench, end_of, trained
from tests.support.waiting import wait_until


def test_a_log_that_no_longer_holds_what_is_needed_halts_until_the_loss_is_accepted(
    bench: TrainerBench,
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


def test_a_broker_that_is_away_for_a_while_is_waited_for(bench: TrainerBench) -> None:
    group = bench.group_ids(1)[0]
    with bench.trainer() as running:
        bench.await_version(0)
        bench.stack.kill("kafka")
        bench.put(group)
        bench.await_version(1)
        assert not running.ended()
    assert set(trained(bench.outcomes()).values()) == {1}


def test_too_many_unreadable_records_halt_the_trainer_until_it_is_resumed(
    bench: TrainerBench,
) -> None:
    before, after = bench.group_ids(2)
    limit = PoisonSettings(poison_limit=3, poison_window_ms=600_000)
    halts = HaltLog(bench.kafka, bench.codec)
    key = (f"headrace.trainer.{bench.policy}", (CREDITS, 3))
    with bench.trainer(poison=limit):
        bench.put(before)
        bench.await_version(1)
        garbage = f"garbage for {bench.policy}".encode()
        bench.writer.send([Outgoing(topic=CREDITS, value=garbage, partition=3)] * 4, SECONDS)
        wait_until(lambda: key in halts.read(), "the halt of the trainer", SECONDS)
        bench.put(after, version=1)
    halt = halts.read()[key]
    assert (halt.stage, halt.reason, halt.state) == ("trainer", POISON, HALTED)
    with bench.trainer(poison=limit) as running:  # a restart halts as well
        wait_until(lambda: running.doing() == "halted", "the halted trainer's beat", SECONDS)
        assert [v.version for v in bench.versions()] == [0, 1]
        halts.write(replace(halt, state=RESUMED))
        bench.await_version(2)
    assert bench.versions()[-1].groups == [after]
    halts.close()
