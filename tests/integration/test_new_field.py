"""A producer writes a field that the running workers have never heard of: they go on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastavro
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer, subject_of
from headrace.connectors.kafka.lag import Lags
from headrace.schemas import Codec, Span, build_span_batch, new_span_id, new_ulid, partition_of
from headrace.schemas.codec import schema_text
from tests.support.environment import environment_of
from tests.support.stages import start_stage
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

SPANS, DATABASE, PROJECT, GROUP = "headrace.spans", "newfield", "newfield", "newfield.assemble"
NEW_FIELD = {"name": "weather", "type": "string", "default": "", "doc": "of a later release"}


def batch(rollout: str, number: int, kind: str) -> dict[str, Any]:
    span = Span(
        project=PROJECT, rollout_id=rollout, attempt="a", span_id=new_span_id(), kind=kind,
        name=kind,
    )  # fmt: skip
    return dict(
        build_span_batch(
            [span],
            producer="newer",
            sequence=number,
            episode_batches={(PROJECT, rollout, "a"): number},
        )
    )


def later_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_text(SPANS))
    schema["fields"] = [NEW_FIELD, *schema["fields"]]  # first: whoever skips nothing reads nonsense
    return schema


def of_later_release(schema: dict[str, Any], schema_id: int, record: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    parsed = fastavro.parse_schema(schema)
    fastavro.schemaless_writer(body, parsed, {**record, "weather": "fine"})
    return b"\x00" + schema_id.to_bytes(4, "big") + body.getvalue()


def test_old_workers_read_what_a_later_release_writes(stack: Stack, tmp_path: Path) -> None:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    kafka = KafkaConfig(bootstrap=stack.bootstrap)
    writer, registry = Writer(kafka), Registry(stack.registry_url)
    codec = Codec(registry)
    rollout = new_ulid()
    partition = partition_of(rollout, 8)

    def send(value: bytes) -> None:
        writer.send([Outgoing(topic=SPANS, value=value, partition=partition)], 60)

    def rows() -> list[dict[str, object]]:
        return client.query(
            "SELECT kind, producer FROM spans FINAL WHERE project = {project:String}"
            " ORDER BY sequence",
            {"project": PROJECT},
        )

    worker = start_stage(
        "assemble",
        environment_of(
            stack,
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_WORKER="newfield-assemble",
            HEADRACE_GROUP=GROUP,
            HEADRACE_RUN_DIRECTORY=tmp_path,
            HEADRACE_DATA_DIRECTORY=tmp_path / "data",
        ),
        tmp_path / "assemble.log",
    )
    try:
        send(codec.encode(SPANS, batch(rollout, 0, "attempt.start")))
        wait_until(lambda: len(rows()) == 1, f"the old producer's span ({tmp_path})")

        schema = later_schema()  # the worker runs, and the registry learns of it only now
        with SchemaRegistryClient.new_client({"url": stack.registry_url}) as later:
            schema_id = later.register_schema(
                subject_of(SPANS), Schema(json.dumps(schema), schema_type="AVRO")
            )
        send(of_later_release(schema, schema_id, batch(rollout, 1, "event")))
        send(codec.encode(SPANS, batch(rollout, 2, "event")))  # the old one goes on beside it
        send(of_later_release(schema, schema_id, batch(rollout, 3, "attempt.end")))
        wait_until(lambda: len(rows()) == 4, f"both producers' spans ({tmp_path})")
        assert [row["kind"] for row in rows()] == [
            "attempt.start", "event", "event", "attempt.end",
        ]  # fmt: skip
        assert worker.poll() is None, "the worker was not started again for it"

        def episode() -> list[dict[str, object]]:
            return client.query(
                "SELECT state, n_spans, complete FROM episodes FINAL WHERE project = 'newfield'"
                " AND state = 'closed'"
            )

        wait_until(lambda: len(episode()) == 1, f"the episode ({tmp_path})")
        assert episode() == [{"state": "closed", "n_spans": 4, "complete": True}]
        lags = Lags(kafka, GROUP, [SPANS])
        wait_until(lambda: not sum(lag.records for lag in lags.ask().values()), "no lag")
        letters = client.query(
            "SELECT count() AS n FROM dead_letters FINAL WHERE topic = {topic:String} AND"
            " partition = {partition:UInt32} AND stage = 'assemble' AND reason = 'unknown_schema'",
            {"topic": SPANS, "partition": partition},
        )
        assert letters == [{"n": 0}]
    finally:
        worker.kill()
        worker.wait()
        writer.close()
        registry.close()
        client.close()
