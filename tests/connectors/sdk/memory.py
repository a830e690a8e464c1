"""A broker and a registry in memory, and spans for them."""

import json
import threading
from collections.abc import Callable
from typing import Any

from headrace.connectors.sdk import Away, Refused
from headrace.connectors.sdk.sealing import TOPIC
from headrace.schemas import Codec, Span, new_span_id, schema_text

WAIT_S = 20.0


class Broker:
    """A broker and a registry in memory that can be away; outlives transports."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.registry_up = threading.Event()
        self.refused = threading.Event()
        self.up.set()
        self.registry_up.set()
        self.records: list[tuple[int, bytes]] = []
        self.room = 1_000
        self.refusals: list[tuple[str, bool]] = []

    def batches(self) -> list[dict[str, Any]]:
        codec = Codec(self)
        return [codec.decode(TOPIC, value) for _, value in self.records]

    def names(self) -> list[str]:
        return [s for batch in self.batches() for s in batch["strings"] if s.startswith("n")]

    def schema_id(self, topic: str) -> int:
        return 7

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(schema_text(TOPIC))
        return schema


class MemoryTransport:
    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self._sent: list[tuple[int, bytes, Callable[[str | None, bool], None]]] = []

    def partitions(self) -> int:
        if not self.broker.up.is_set():
            raise Away("broker is away")
        return 2

    def schema_id(self) -> int:
        if not self.broker.registry_up.is_set():
            raise Away("registry is away")
        if self.broker.refused.is_set():
            raise Refused("the schema is not compatible")
        return 7

    def send(self, partition: int, value: bytes, taken: Callable[[str | None, bool], None]) -> bool:
        if len(self._sent) >= self.broker.room:
            return False
        self._sent.append((partition, value, taken))
        return True

    def poll(self, timeout: float) -> None:
        if not self.broker.up.wait(timeout):
            return
        sent, self._sent = self._sent, []
        for partition, value, taken in sent:
            if self.broker.refusals:
                taken(*self.broker.refusals.pop())
                continue
            self.broker.records.append((partition, value))
            taken(None, False)

    def close(self, timeout: float) -> None:
        pass


def span(name: str = "n", rollout: str = "r1", **fields: Any) -> Span:
    return Span(
        rollout_id=rollout,
        attempt="a1",
        span_id=new_span_id(),
        kind=fields.pop("kind", "event"),
        name=name,
        **fields,
    )
