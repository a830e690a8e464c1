"""Avro bodies in the Confluent wire format: `0x00`, 4-byte big-endian schema id, body."""

import io
import json
import struct
from functools import cache
from importlib import resources
from typing import Any, Protocol

import fastavro
from fastavro.types import AvroMessage

from headrace.schemas.errors import MalformedRecord
from headrace.schemas.topics import Topic

MAGIC = 0
HEADER = struct.Struct(">bI")
Schema = dict[str, Any]

# Topic -> file of its value schema.
SCHEMA_FILES: dict[str, str] = {
    Topic.TASKS: "task.avsc",
    Topic.SPANS: "span_batch.avsc",
    Topic.EPISODES: "episode_batch.avsc",
    Topic.SAMPLES: "sample.avsc",
    Topic.CREDITS: "credits_batch.avsc",
    Topic.POLICIES: "policy.avsc",
    Topic.OUTCOMES: "outcome.avsc",
    Topic.HALTS: "halt.avsc",
}


class WriterSchemas(Protocol):
    """Where the codec learns schema ids; `Registry` is the real one."""

    def schema_id(self, topic: str) -> int:
        """Id under which the topic's schema is registered."""

    def writer_schema(self, schema_id: int) -> Schema:
        """The schema of an id, as parsed JSON."""


@cache
def schema_text(topic: str) -> str:
    """The topic's value schema as JSON text."""
    folder = resources.files("headrace.schemas") / "avro"
    return (folder / SCHEMA_FILES[topic]).read_text(encoding="utf-8")


@cache
def _parsed(topic: str) -> Any:
    return fastavro.parse_schema(json.loads(schema_text(topic)))


def frame(schema_id: int, body: bytes) -> bytes:
    """Put the Confluent header in front of an Avro body."""
    return HEADER.pack(MAGIC, schema_id) + body


def unframe(value: bytes | None) -> tuple[int, bytes]:
    """Schema id and Avro body of a record's value; raises MalformedRecord."""
    if value is None or len(value) < HEADER.size or value[0] != MAGIC:
        raise MalformedRecord("no Confluent header: the value must begin with 0x00 and a schema id")
    return HEADER.unpack_from(value)[1], value[HEADER.size :]


def encode_body(topic: str, record: AvroMessage) -> bytes:
    """The Avro body of a record of `topic`; needs no registry."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _parsed(topic), record)
    return body.getvalue()


class Codec:
    """Encodes and decodes the records of our topics.

    Raises MalformedRecord for bytes that are no record of the topic, and what the registry
    raises (UnknownSchemaId, RegistryUnavailable) for ids it has to ask for. Safe to share
    between threads once the ids in use are known.
    """

    def __init__(self, registry: WriterSchemas) -> None:
        self._registry = registry
        self._ids: dict[str, int] = {}
        self._writers: dict[int, Any] = {}

    def encode(self, topic: str, record: AvroMessage) -> bytes:
        """The record as the value of a Kafka record of `topic`."""
        return self.framed(topic, encode_body(topic, record))

    def framed(self, topic: str, body: bytes) -> bytes:
        """An Avro body of `topic` behind the header with its schema id."""
        if topic not in self._ids:
            self._ids[topic] = self._registry.schema_id(topic)
        return frame(self._ids[topic], body)

    def decode(self, topic: str, value: bytes | None) -> dict[str, Any]:
        """The record in a Kafka record's value, resolved to this version's schema."""
        schema_id, body = unframe(value)
        if schema_id not in self._writers:
            self._writers[schema_id] = self._writer(topic, schema_id)
        stream = io.BytesIO(body)
        try:
            writer = self._writers[schema_id]
            # Resolution costs more than decoding: skip it where writer and reader are one schema.
            reader = None if writer is _parsed(topic) else _parsed(topic)
            record = fastavro.schemaless_reader(stream, writer, reader)
        except Exception as error:  # fastavro raises many kinds for bytes it cannot read
            raise MalformedRecord(
                f"value of {topic} does not decode with schema {schema_id}: "
                f"{type(error).__name__}: {error}"
            ) from error
        if stream.read(1):
            raise MalformedRecord(f"value of {topic} has bytes behind its Avro body")
        if not isinstance(record, dict):
            raise MalformedRecord(f"schema {schema_id} is not a record schema of {topic}")
        return record

    def _writer(self, topic: str, schema_id: int) -> Any:
        schema = self._registry.writer_schema(schema_id)
        if schema == json.loads(schema_text(topic)):
            return _parsed(topic)
        return fastavro.parse_schema(schema, named_schemas={})
