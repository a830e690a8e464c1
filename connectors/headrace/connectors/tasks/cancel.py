"""Takes tasks back: a record behind each of them, in its partition, that says why."""

from collections.abc import Sequence
from dataclasses import replace

from headrace.connectors.kafka import (
    KafkaConfig,
    Outgoing,
    Registry,
    RegistryAccess,
    Writer,
    partitions_of,
)
from headrace.schemas import Codec, Task, partition_of, to_avro
from headrace.schemas.topics import Topic


def cancel_tasks(
    kafka: KafkaConfig, registry: RegistryAccess, tasks: Sequence[Task], why: str
) -> None:
    """Return when the log says that these are not to be run any more.

    Their runner does not begin what waits, and ends what runs. `why` is for a person and may not be
    empty; of a task its ids and where it belongs are enough.

    Raises:
        KafkaClientError: Kafka did not take the records.
        RegistryUnavailable: the registry did not answer.
    """
    if not why:
        raise ValueError("why is empty: say why the tasks are taken back")
    schemas, writer = Registry(registry), Writer(kafka)
    try:
        codec, partitions = Codec(schemas), partitions_of(kafka, Topic.TASKS)
        writer.send(
            [
                Outgoing(
                    topic=Topic.TASKS,
                    key=task.rollout_id,
                    partition=partition_of(task.rollout_id, partitions),
                    value=codec.encode(Topic.TASKS, to_avro(replace(task, cancelled=why))),
                )
                for task in tasks
            ]
        )
    finally:
        writer.close()
        schemas.close()
