"""Records of the log topics as rows of their tables. A record's id is the key of its row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
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
    table: schema_of(table)
    for table in ("outcomes", "policies", "traffic", "tasks", DEAD_LETTERS, "halts", "drops")
}

UNSIGNED = {
    table: {field.name: field.type for field in schema if pa.types.is_unsigned_integer(field.type)}
    for table, schema in SCHEMAS.items()
}
"""Columns that cannot hold every number that Avro's signed types can."""


_NOT_OF_TASKS = ("group_rollouts", "cancelled")


Rows = list[tuple[str, Row]]


_PACKED = {"token_logprobs": "<f4", "token_entropies": "<f4", "token_masked": "u1"}
"""Columns of outcomes that travel as bytes, with the type of their values."""


def _outcome_rows(data: dict[str, Any]) -> Rows:
    try:
        unpacked = {name: np.frombuffer(data[name] or b"", of) for name, of in _PACKED.items()}
    except ValueError as error:
        raise MalformedRecord(f"an outcome's values by token: {error}") from error
    return [("outcomes", data | unpacked)]


def _task_rows(data: dict[str, Any]) -> Rows:
    if data["cancelled"]:  # its row stays; the rollout's episode tells how it ended
        return []
    return [("tasks", {name: value for name, value in data.items() if name not in _NOT_OF_TASKS})]


def _policy_rows(data: dict[str, Any]) -> Rows:
    record = from_avro(PolicyRecord, data)
    rows: Rows = []
    if record.version is not None:
        row = dataclasses.asdict(record.version)
        row["metrics"] = list(record.version.metrics.items())
        rows.append(("policies", row))
    if record.traffic is not None:
        rows.append(("traffic", dataclasses.asdict(record.traffic)))
    return rows


def _halt_rows(data: dict[str, Any]) -> Rows:
    halt = from_avro(Halt, data)
    place = {
        "stage": halt.stage,
        "consumer_group": halt.group,
        "topic": halt.topic,
        "partition": halt.partition,
        "first_offset": halt.offset,
        "reason": halt.reason,
        "detail": halt.message,
    }
    rows: Rows = [("halts", {**place, "end_offset": halt.end, "state": halt.state})]
    if halt.state == RESUMED and halt.reason == LOG_LOST:  # something was given up
        rows.append(("drops", {**place, "last_offset": halt.end - 1}))
    return rows


LOG_TABLES: dict[str, Callable[[dict[str, Any]], Rows]] = {
    Topic.OUTCOMES: _outcome_rows,
    Topic.POLICIES: _policy_rows,
    Topic.TASKS: _task_rows,
    HALTS: _halt_rows,
}
"""Topic -> the rows of a decoded record, each with its table."""

TOPICS = (*LOG_TABLES, *DLQ_TOPICS)


def rows_of(record: LogRecord, codec: Codec) -> Rows:
    """Rows of a record, each with its table; some records have none.

    Raises:
        SchemaError: what the codec raises, and MalformedRecord for what no column can hold.
    """
    if is_dead_letters(record.topic):
        return [(DEAD_LETTERS, dead_letter_row(record))]
    if record.value is None and record.topic == Topic.POLICIES:
        return []  # a tombstone of the compacted topic
    rows = log_rows(record, codec.decode(record.topic, record.value))
    for table, row in rows:
        _check(table, row)
    return rows


def _check(table: str, row: Row) -> None:
    for name, kind in UNSIGNED[table].items():
        if not 0 <= row[name] < 1 << kind.bit_width:
            raise MalformedRecord(f"{name} is {row[name]}: {table} cannot hold it")


def log_rows(message: LogRecord, data: dict[str, Any]) -> Rows:
    """Rows of a decoded record of a log topic, each with its table."""
    position = {
        "partition": message.partition,
        "offset": message.offset,
        "log_time": message.log_time,
    }
    return [
        (table, {k: v for k, v in position.items() if k in SCHEMAS[table].names} | row)
        for table, row in LOG_TABLES[message.topic](data)
    ]


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
