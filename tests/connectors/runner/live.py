"""Agents of every temper, and a runner of them on the real broker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, TopicPartition

from headrace.connectors.kafka import (
    KafkaConfig,
    Outgoing,
    Writer,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.runner import Runner, RunnerConfig
from headrace.infra.embedded import Stack
from headrace.schemas import Task, new_ulid, partition_of, to_avro
from tests.support.watching import TASKS, WAIT_S, Watch

AGENTS = """
import os, threading
from pathlib import Path
from headrace.connectors.sdk import current_attempt

def ok(task_input, *, base_url, api_key, model="own"):
    return {"input": task_input, "url": base_url, "key": api_key, "model": model}

def fail(task_input, *, base_url, api_key):
    raise ValueError("no idea")

def die(task_input, *, base_url, api_key):
    os._exit(9)

def until_mended(task_input, *, base_url, api_key):
    if not Path(task_input).exists():
        raise RuntimeError("not mended")

def begin_and_hang(task_input, *, base_url, api_key):
    Path(task_input).touch()
    while True:
        threading.Event().wait(0.05)

def hang(task_input, *, base_url, api_key):
    threading.Event().wait()

def tool(task_input, *, base_url, api_key):
    attempt = current_attempt()
    with attempt.tool("add", task_input) as result:
        result.output = sum(task_input)
    attempt.reward("correct", 1.0)
    return result.output

def fail_once(task_input, *, base_url, api_key):
    marker = Path(task_input)
    if not marker.exists():
        marker.touch()
        raise ValueError("not yet")
    return "second"

def hang_once(task_input, *, base_url, api_key):
    marker = Path(task_input)
    if not marker.exists():
        marker.write_text(str(os.getpid()))
        threading.Event().wait()
    return "second"
"""


def group_at_the_end(stack: Stack) -> str:
    """A consumer group that begins behind the tasks of other tests."""
    group = f"test.{new_ulid()}"
    config = KafkaConfig(bootstrap=stack.bootstrap)
    consumer = Consumer(consumer_settings(config, group=group))
    ends = []
    for partition in range(partitions_of(config, TASKS)):
        _, high = consumer.get_watermark_offsets(TopicPartition(TASKS, partition))
        ends.append(TopicPartition(TASKS, partition, high))
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
    return group


def lag(stack: Stack, group: str) -> int:
    config = KafkaConfig(bootstrap=stack.bootstrap)
    consumer = Consumer(consumer_settings(config, group=group))
    parts = [TopicPartition(TASKS, p) for p in range(partitions_of(config, TASKS))]
    behind = 0
    for part in consumer.committed(parts):
        low, high = consumer.get_watermark_offsets(part)
        behind += high - max(part.offset, low)
    consumer.close()
    return behind


def send(watch: Watch, tasks: list[Task]) -> None:
    """Write tasks where their rollouts belong: what takes one back comes after it there."""
    writer = Writer(watch.kafka)
    partitions = partitions_of(watch.kafka, TASKS)
    writer.send(
        [
            Outgoing(
                topic=TASKS,
                key=task.rollout_id,
                partition=partition_of(task.rollout_id, partitions),
                value=watch.codec.encode(TASKS, to_avro(task)),
            )
            for task in tasks
        ]
    )
    writer.close()


@contextmanager
def running(config: RunnerConfig) -> Iterator[Runner]:
    runner = Runner(config)
    stop = threading.Event()
    failure: list[BaseException] = []

    def run() -> None:
        try:
            runner.run(stop)
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield runner
    finally:
        stop.set()
        thread.join(WAIT_S)
    assert not failure
    assert not thread.is_alive()
