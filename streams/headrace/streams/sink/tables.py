"""Records of the log topics as rows of their tables. A record's id is the key of its row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from headrace.connectors.clickhouse.tables import schema_of
from headrace.connectors.kafka import HALTS, LOG_LOST, RESUMED, LogRecord
from headrace.schemas import SCHEMA_FILES, Codec, Halt, MalformedRecord, PolicyRecord, from_avro
from headrace.schemas.topics import Topic, dead_letters_of, is_dead_letters
from headrace.schemas.vocabulary import LetterReason

Row = dict[str, Any]

DEAD_LETTERS = "dead_letters"
DLQ_TOPICS = tuple(dead_letters_of(topic) for topic in SCHEMA_FILES)


SCHEMAS: dict[str, pa.Schema] = {
    table: schema_of(table) for table in ("outcomes", "policies", "tasks", DEAD_LETTERS, "drops")
}

UNSIGNED = {
    table: {field.name: field.type for field in schema if pa.types.is_unsigned_integer(field.type)}
    for table, schema in SCHEMAS.items()
}
"""Columns that cannot hold every number that Avro's signed types can."""


_NOT_OF_TASKS = ("group_rollouts", "cancelled")


def _outcome_row(data: dict[str, Any]) -> Row:
    return data


def _task_row(data: dict[str, Any]) -> Row | None:
    if data["cancelled"]:  # its row stays; the rollout's episode tells how it ended
        return None
    return {name: value for name, value in data.items() if name not in _NOT_OF_TASKS}


def _policy_row(data: dict[str, Any]) -> Row | None:
    version = from_avro(PolicyRecord, data).version
    if version is None:  # a change of traffic
        return None
    row = dataclasses.asdict(version)
    row["metrics"] = list(version.metrics.items())
    return row


def _drop_row(data: dict[str, Any]) -> Row | None:
    halt = from_avro(Halt, data)
    if halt.state != RESUMED or halt.reason != LOG_LOST:  # nothing was given up
        return None
    return {
        "stage": halt.stage,
        "consumer_group": halt.group,
        "topic": halt.topic,
        "partition": halt.partition,
        "first_offset": halt.offset,
        "last_offset": halt.end - 1,
        "reason": halt.reason,
        "detail": halt.message,
    }


LOG_TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], Row | None]]] = {
    Topic.OUTCOMES: ("outcomes", _outcome_row),
    Topic.POLICIES: ("policies", _policy_row),
    Topic.TASKS: ("tasks", _task_row),
    HALTS: ("drops", _drop_row),
}
"""Topic -> its table, and how a decoded record becomes a row (None: it has none)."""

TOPICS = (*LOG_TABLES, *DLQ_TOPICS)


def row_of(record: LogRecord, codec: Codec) -> tuple[str, Row] | None:
    """Table and row of a record; None where it has none.

    Raises:
        SchemaError: what the codec raises, and MalformedRecord for what no column can hold.
    """
    if is_dead_letters(record.topic):
        return DEAD_LETTERS, dead_letter_row(record)
    if record.value is None and record.topic == Topic.POLICIES:
        return None  # a tombstone of the compacted topic
    row = log_row(record, codec.decode(record.topic, record.value))
    if row is not None:
        _check(*row)
    return row


def _check(table: str, row: Row) -> None:
    for name, kind in UNSIGNED[table].items():
        if not 0 <= row[name] < 1 << kind.bit_width:
            raise MalformedRecord(f"{name} is {row[name]}: {table} cannot hold it")


def log_row(message: LogRecord, data: dict[str, Any]) -> tuple[str, Row] | None:
    """Table and row of a decoded record of a log topic; None where it has none."""
    table, row_of = LOG_TABLES[message.topic]
    row = row_of(data)
    if row is None:
        return None
    position = {
        "partition": message.partition,
        "offset": message.offset,
        "log_time": message.log_time,
    }
    return table, {k: v for k, v in position.items() if k in SCHEMAS[table].names} | row


def dead_letter_row(message: LogRecord) -> Row:
    """Row of a dead letter; one without our headers is kept under its own position."""
    facts = {
        name: message.headers.get(f"headrace.error.{name}", b"").decode(errors="replace")
        for name in ("topic", "partition", "offset", "reason", "message", "stage")
    }
    if not (facts["topic"] and facts["partition"].isdigit() and facts["offset"].isdigit()):
        facts |= {
            "topic": message.topic,
            "partition": str(message.partition),
            "offset": str(message.offset),
        }
    return facts | {
        "partition": int(facts["partition"]),
        "offset": int(facts["offset"]),
        "reason": facts["reason"] or LetterReason.UNEXPLAINED,
        "size": len(message.value or b""),
        "log_time": message.log_time,
    }
