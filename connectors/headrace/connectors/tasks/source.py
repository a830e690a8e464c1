"""The task source on Kafka: follows policies and outcomes, writes tasks."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from headrace.connectors.kafka import (
    Offsets,
    Outgoing,
    Partition,
    Patience,
    Registry,
    Stopped,
    WholeTopics,
    Writer,
    partitions_of,
)
from headrace.connectors.tasks.beginning import beginning
from headrace.connectors.tasks.config import TaskItem, TaskSourceConfig
from headrace.connectors.tasks.following import Following
from headrace.connectors.tasks.pace import Pace
from headrace.schemas import Codec, Task, new_ulid, partition_of, to_avro
from headrace.schemas.topics import Topic
from headrace.schemas.vocabulary import Split

logger = logging.getLogger(__name__)

TASKS, POLICIES, OUTCOMES = Topic.TASKS, Topic.POLICIES, Topic.OUTCOMES
GROUP = "headrace.task-source"
"""By which its halts are known."""
_POLL_S = 0.2
_AGAIN_S = 1.0


class TaskSource:
    """Writes the tasks of one policy. `send_eval` may be called beside a running `run`.

    Kept by the topics alone: a source that starts again reads policies, and of tasks and outcomes
    what is not over for certain (`beginning`), and goes on where the one before stopped.
    """

    def __init__(self, config: TaskSourceConfig) -> None:
        self._following = Following(config)
        self.admission = self._following.admission
        self._config = config
        self._kafka = config.kafka.client("headrace-tasks")
        self._registry = Registry(config.registry)
        self._codec = Codec(self._registry)
        self._writer = Writer(self._kafka)
        self._halted = ""
        self._partitions: int | None = None
        self._groups = 0

    def enter(self) -> None:
        """Ask the registry for the tasks' schema, which every task needs.

        Raises RegistryUnavailable where it does not answer or let us in. `run` would wait for it.
        """
        self._registry.schema_id(TASKS)

    @property
    def pace(self) -> Pace:
        """How far it is."""
        return Pace(
            version=self.admission.version,
            groups=self._groups,
            running=self.admission.running,
            trained=self.admission.accepted,
            dropped=self.admission.dropped,
            paused=self._following.paused,
            halted=self._halted,
            next_try_s=self._following.next_try_s,
        )

    def run(
        self,
        draw: Iterator[TaskItem],
        stop: threading.Event,
        on_turn: Callable[[Pace], None] = lambda _: None,
    ) -> None:
        """Admit groups of drawn tasks as the trainer makes room, until `stop` is set.

        Each drawn task makes a group of `group_size` rollouts. Returns early when `draw` has
        no more. `on_turn` gets the pace several times a second, in this thread.

        Raises:
            KafkaClientError: a topic is missing, or the broker was away for minutes.
        """
        patience = Patience("the task source", stop=stop, delay_s=_AGAIN_S)
        log: WholeTopics[dict[str, Any]] | None = None
        try:
            log = self._opened(patience)
            while not stop.is_set():
                for record, data in log.read(_POLL_S):
                    self._following.take(record.topic, data)
                self._halted = ", ".join(f"{topic}/{number}" for topic, number in log.halted)
                if log.at_end:
                    self._following.settle()
                for _ in range(self._following.groups() if not log.halted else 0):
                    item = next(draw, None)
                    if item is None:
                        logger.info("no more tasks to draw")
                        return
                    self._send_group(item, patience)
                if log.caught_up:
                    on_turn(self.pace)
        except Stopped:
            logger.info("stopped while waiting")
        finally:
            if log is not None:
                log.close()

    def send_eval(self, items: Sequence[TaskItem], version: int) -> list[str]:
        """Ask for one rollout of each item, pinned to a version and never trained.

        Returns their rollout ids, in the items' order, when Kafka has the tasks.

        Raises:
            KafkaUnavailable: Kafka did not take them.
            RegistryUnavailable: the registry did not answer.
        """
        tasks = []
        for item in items:
            rollout = new_ulid()
            tasks.append(
                self._task(item, rollout, rollout, [rollout], split=Split.EVAL, pin=version)
            )
        self._writer.send([self._record(task) for task in tasks])
        return [task.rollout_id for task in tasks]

    def close(self) -> None:
        """Let the clients go."""
        self._writer.close()
        self._registry.close()

    def _opened(self, patience: Patience) -> WholeTopics[dict[str, Any]]:
        config, starts = self._config, {}
        since = beginning(
            self._published(patience),
            max_staleness=config.max_staleness,
            deadline_s=config.deadline_s,
        )
        if since is not None:
            self._following.begin(since.version)
            starts = self._starts(since.log_time, patience)
        return self._reading((TASKS, POLICIES, OUTCOMES), patience, starts)

    def _published(self, patience: Patience) -> dict[int, int]:
        """The policy's versions, and when they were written (log times, milliseconds)."""
        log, found = self._reading((POLICIES,), patience, {}), {}
        try:
            while not log.caught_up:
                for record, data in log.read(_POLL_S):
                    version = data["version"]
                    if version is not None and version["policy"] == self._config.policy:
                        found[version["version"]] = record.log_time
                patience.pause(seconds=0.0)  # raises Stopped
        finally:
            log.close()
        return found

    def _starts(self, log_time: int, patience: Patience) -> dict[Partition, int]:
        offsets, ask = Offsets(self._kafka), patience.until_done
        places = [
            (topic, number)
            for topic in (TASKS, OUTCOMES)
            for number in range(ask(partial(partitions_of, self._kafka, topic)))
        ]
        return ask(lambda: offsets.from_time(places, log_time))

    def _reading(
        self, topics: Sequence[str], patience: Patience, starts: Mapping[Partition, int]
    ) -> WholeTopics[dict[str, Any]]:
        codec = self._codec
        return WholeTopics(
            self._kafka,
            codec,
            topics,
            lambda record: codec.decode(record.topic, record.value),
            stage="task source",
            group=GROUP,
            limit=self._config.poison,
            patience=patience,
            starts=starts,
        )

    def _send_group(self, item: TaskItem, patience: Patience) -> None:
        rollouts = [new_ulid() for _ in range(self._config.group_size)]
        group = new_ulid()
        tasks = [
            self._task(item, rollout, group, rollouts, split=self._config.split)
            for rollout in rollouts
        ]
        self._following.asked(group, rollouts)  # before anybody can see them
        # The same ids again after a failure: whatever arrived of them is the same rollouts.
        patience.until_done(lambda: self._writer.send([self._record(task) for task in tasks]))
        self._groups += 1

    def _task(
        self,
        item: TaskItem,
        rollout: str,
        group: str,
        rollouts: list[str],
        *,
        split: str,
        pin: int = -1,
    ) -> Task:
        config = self._config
        deadline = int((time.time() + config.deadline_s) * 1000) if config.deadline_s else 0
        return Task(
            project=config.project,
            rollout_id=rollout,
            group_id=group,
            group_size=len(rollouts),
            group_rollouts=rollouts,
            policy=config.policy,
            version=pin,
            split=split,
            agent=config.agent,
            input=json.dumps(item.input, ensure_ascii=False),
            expected="" if item.expected is None else json.dumps(item.expected),
            deadline=deadline,
        )

    def _record(self, task: Task) -> Outgoing:
        if self._partitions is None:
            self._partitions = partitions_of(self._kafka, TASKS)
        return Outgoing(
            topic=TASKS,
            key=task.rollout_id,
            partition=partition_of(task.rollout_id, self._partitions),
            value=self._codec.encode(TASKS, to_avro(task)),
        )
