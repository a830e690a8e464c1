"""The wire format: round trips, what is refused, and Confluent's own client reading our bytes."""

import contextlib
import dataclasses
import functools
import types
import typing
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import Registry, subject_of
from headrace.schemas import (
    Codec,
    CreditsBatch,
    EpisodeBatch,
    InvalidId,
    MalformedRecord,
    Outcome,
    PolicyRecord,
    Sample,
    Task,
    UnknownSchemaId,
    check_id,
    encode_body,
    frame,
    from_avro,
    murmur2,
    new_span_id,
    new_ulid,
    partition_of,
    to_avro,
    unframe,
)

RECORDS: dict[str, Any] = {
    "headrace.tasks": Task,
    "headrace.episodes": EpisodeBatch,
    "headrace.samples": Sample,
    "headrace.credits": CreditsBatch,
    "headrace.policies": PolicyRecord,
    "headrace.outcomes": Outcome,
}
# Digests of org.apache.kafka.common.utils.UtilsTest.testMurmur2.
MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@functools.cache
def values(hint: Any) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        return st.builds(hint, **{name: values(each) for name, each in hints.items()})
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return st.none() | values(arguments[0])
    if origin is list:
        return st.lists(values(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(values(str), values(arguments[1]), max_size=2)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text("aä€𝄞 ", max_size=4),
        int: st.integers(-(2**31), 2**31 - 1),
        float: st.floats(allow_nan=False, width=32),
        bool: st.booleans(),
        bytes: st.binary(max_size=8),
    }
    return simple[hint]


@pytest.fixture(scope="module")
def codec() -> Codec:
    registry = Registry("mock://codec")
    registry.register_all()
    return Codec(registry)


@pytest.mark.parametrize("topic", RECORDS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_records_survive_the_wire(codec: Codec, topic: str, data: st.DataObject) -> None:
    record = data.draw(values(RECORDS[topic]))
    value = codec.encode(topic, to_avro(record))
    assert from_avro(RECORDS[topic], codec.decode(topic, value)) == record


@settings(deadline=None)
@given(st.binary(max_size=64))
def test_bytes_are_either_a_record_or_malformed(codec: Codec, data: bytes) -> None:
    for value in (data, frame(1, data), None):
        with contextlib.suppress(MalformedRecord, UnknownSchemaId):
            assert from_avro(Task, codec.decode("headrace.tasks", value))


def test_what_is_malformed_says_what(codec: Codec) -> None:
    good = codec.encode("headrace.tasks", to_avro(Task()))
    for value, why in (
        (None, "header"),
        (b"", "header"),
        (b"\x01" + good[1:], "header"),
        (good[:-3], "does not decode"),
        (good + b"x", "behind"),
    ):
        with pytest.raises(MalformedRecord, match=why):
            codec.decode("headrace.tasks", value)


def test_an_unknown_schema_id_is_not_a_malformed_record() -> None:
    codec = Codec(Registry("mock://unknown"))
    with pytest.raises(UnknownSchemaId, match="99"):
        codec.decode("headrace.tasks", frame(99, encode_body("headrace.tasks", to_avro(Task()))))


def test_the_header_is_confluents() -> None:
    assert frame(258, b"body") == b"\x00\x00\x00\x01\x02body"
    assert unframe(frame(258, b"body")) == (258, b"body")


def test_confluents_deserializer_reads_our_records() -> None:
    url = "mock://outside"
    task = Task(rollout_id="r1", group_rollouts=["r1", "r2"], input='{"q": "ä"}')
    registry = Registry(url)
    value = Codec(registry).encode("headrace.tasks", to_avro(task))
    client = registry._client  # a mock registry lives in its client
    assert type(client) is type(SchemaRegistryClient.new_client({"url": url}))
    assert client.get_subjects() == [subject_of("headrace.tasks")]
    read = AvroDeserializer(client)
    context = SerializationContext("headrace.tasks", MessageField.VALUE)
    assert read(value, context) == to_avro(task)


def test_a_writer_of_an_older_schema_is_understood(codec: Codec) -> None:
    import io
    import json

    import fastavro

    from headrace.schemas import schema_text

    older = json.loads(schema_text("headrace.tasks"))
    older["fields"] = [field for field in older["fields"] if field["name"] != "subject"]

    class OldRegistry:
        def schema_id(self, topic: str) -> int:
            return 7

        def writer_schema(self, schema_id: int) -> dict[str, Any]:
            return json.loads(json.dumps(older))  # type: ignore[no-any-return]  # JSON

    body = io.BytesIO()
    record = to_avro(Task(rollout_id="r1"))
    del record["subject"]
    fastavro.schemaless_writer(body, fastavro.parse_schema(older), record)
    read = Codec(OldRegistry()).decode("headrace.tasks", frame(7, body.getvalue()))
    assert from_avro(Task, read) == Task(rollout_id="r1")


@pytest.mark.parametrize(("data", "digest"), MURMUR2.items())
def test_murmur2_is_kafkas(data: bytes, digest: int) -> None:
    assert murmur2(data) == digest % 2**32
    assert partition_of(data.decode(), 8) == (digest & 0x7FFFFFFF) % 8


def test_ids_are_what_they_should_be() -> None:
    assert len({new_ulid() for _ in range(100)}) == 100
    assert len(new_span_id()) == 16
    assert check_id("A-z.0:9_", "id") == "A-z.0:9_"
    for bad in ("", "a b", "ä", "x" * 129, "a/b", "a\n"):
        with pytest.raises(InvalidId, match="rollout_id"):
            check_id(bad, "rollout_id")
