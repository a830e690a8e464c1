"""A tail of a topic on the real broker: what is there first, then each record as it comes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

# Public names, but not in an __all__.
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from headrace.connectors.kafka import KafkaConfig, Outgoing, Tailer, Writer
from headrace.schemas import new_ulid

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

SECONDS = 60.0
FOR_EVER = 3600.0


def test_a_record_is_not_kept_waiting_for_others(stack: Stack) -> None:
    topic = f"test.{new_ulid()}"
    config = KafkaConfig(bootstrap=stack.bootstrap)
    admin = AdminClient({"bootstrap.servers": stack.bootstrap})
    for made in admin.create_topics([NewTopic(topic, num_partitions=1)]).values():
        made.result(SECONDS)
    writer = Writer(config)
    # Taken by the broker, so the broker knows the topic: its creation is answered before that.
    writer.send([Outgoing(topic=topic, value=b"zero", partition=0)])
    tailer = Tailer(config, [topic], name="test")
    there: list[bytes] = []
    seen: list[bytes] = []
    came = threading.Event()

    def follow() -> None:
        while not seen:
            seen.extend(message.value() for message in tailer.read(FOR_EVER))
        came.set()

    while not tailer.caught_up:
        there.extend(message.value() for message in tailer.read(SECONDS))
    assert there == [b"zero"]
    following = threading.Thread(target=follow, daemon=True)
    following.start()
    writer.send([Outgoing(topic=topic, value=b"one", partition=0)])
    assert came.wait(SECONDS), "a record waits for company"
    following.join()
    assert seen == [b"one"]
    tailer.close()
    writer.close()
