"""What leaves the assembler, and when: its records are made while ClickHouse stores the spans."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from headrace.connectors.kafka import Outgoing
from headrace.streams.assemble import stage as module
from headrace.streams.assemble.outbox import outgoing
from tests.streams.assembling import Producer, World, call, end, make_stage, record, run, start

PATIENCE_S = 20.0


@dataclass
class SlowWorld(World):
    """A store that has a take's spans only when the take's records have been made."""

    made: threading.Event = field(default_factory=threading.Event)
    order: list[str] = field(default_factory=list)

    def insert_arrow(self, table: str, data: pa.RecordBatch) -> int:
        if table == "spans":
            assert self.made.wait(PATIENCE_S), "the take waits for ClickHouse with its records"
        self.order.append(table)
        return super().insert_arrow(table, data)

    def send(self, records: Sequence[Any]) -> None:
        self.order += dict.fromkeys(record.topic for record in records)
        super().send(records)


def test_spans_samples_episodes_and_rows_are_written_in_this_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = SlowWorld()

    def telling(*arguments: Any, **options: Any) -> list[Outgoing]:
        records = outgoing(*arguments, **options)
        world.made.set()
        return records

    monkeypatch.setattr(module, "outgoing", telling)
    run(make_stage(world), [record(Producer("p").seal(start(), call(2), end()), 0, 1_000)])
    assert world.order == ["spans", "headrace.samples", "headrace.episodes", "episodes"]
