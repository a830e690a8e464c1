"""The tables as data: the columns that the migrations made, and the Arrow layout of an insert.

What is inserted is laid out by `schema_of`; a test holds `TABLES` equal to the live tables. A new
column is a line here (of `spans`: in `headrace.schemas.columns`) and a migration.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import pyarrow as pa

from headrace.connectors.clickhouse.arrow_types import WORD, arrow_type
from headrace.schemas.columns import SPAN_COLUMNS, Column, Type

_SQL = {
    Type.WORD: "LowCardinality(String)",
    Type.TEXT: "String",
    Type.SPAN_ID: "String",
    Type.BOOL: "Bool",
    Type.INT32: "Int32",
    Type.INT64: "Int64",
    Type.UINT32: "UInt32",
    Type.UINT64: "UInt64",
    Type.FLOAT32: "Float32",
    Type.FLOAT64: "Float64",
}


def sql_type(column: Column) -> str:
    """ClickHouse's type of a column of spans."""
    one = _SQL[column.type]
    if column.many:
        return f"Array({one})"
    return f"Nullable({one})" if column.nullable else one


_POSITION = {"partition": "UInt32", "offset": "UInt64", "log_time": "Int64"}

_GROUPS: Mapping[str, str] = {
    "project": "LowCardinality(String)",
    "group_id": "String",
    "rule": "LowCardinality(String)",
    "credit": "LowCardinality(String)",
    "row_version": "UInt64",
    "version": "UInt64",
    "state": "LowCardinality(String)",
    "partition": "UInt32",
    "group_size": "UInt32",
    "group_rollouts": "Array(String)",
    "policy": "LowCardinality(String)",
    "split": "LowCardinality(String)",
    "deadline": "Int64",
    "close_by": "Int64",
    "log_first": "Int64",
    "log_last": "Int64",
    "outcome": "LowCardinality(String)",
    "baseline": "LowCardinality(String)",
    "mean": "Float64",
    "std": "Float64",
    "members": (
        "Array(Tuple(rollout_id String, attempt String, episode_version UInt64, "
        "status String, reward Nullable(Float64), reward_reason String, "
        "reward_detail String, dimensions Array(Tuple(name String, value Float64)), "
        "advantage Float64, calls UInt32, log_time Int64, "
        "complete Bool, closed_status String, version_min Int32, version_max Int32))"
    ),
    "samples": (
        "Array(Tuple(sample_id String, rollout_id String, attempt String, agent String, "
        "policy String, advantage Float64, trainable Bool, reason String, "
        "call_reason String, version_min Int32, version_max Int32, tokens UInt32, "
        "reward Nullable(Float64), observed String, token_weights Array(Float32)))"
    ),
    "missing_rollouts": "Array(String)",
    "running": "Tuple(policy String, count UInt64, before Float64, after Float64)",
}

TABLES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "spans": {column.name: sql_type(column) for column in SPAN_COLUMNS},
        "repeated_batches": {
            "project": "LowCardinality(String)",
            "rollout_id": "String",
            "attempt": "String",
            "producer": "String",
            "episode_batch": "UInt32",
            **_POSITION,
            "ver": "Int64",
        },
        "episodes": {
            "project": "LowCardinality(String)",
            "rollout_id": "String",
            "attempt": "String",
            "version": "UInt64",
            "state": "LowCardinality(String)",
            "subject": "Nullable(String)",
            "partition": "UInt32",
            "group_id": "String",
            "group_size": "UInt32",
            "policy": "LowCardinality(String)",
            "split": "LowCardinality(String)",
            "deadline": "Int64",
            "close_by": "Int64",
            "n_spans": "UInt32",
            "digest": "Int64",
            "closed_by": "LowCardinality(String)",
            "status": "LowCardinality(String)",
            "complete": "Bool",
            "missing_batches": "UInt32",
            "log_first": "Int64",
            "log_last": "Int64",
            "task_input": "String",
            "expected": "String",
            "result": "String",
            "calls": "UInt32",
            "tools": "UInt32",
            "rewards": "UInt32",
            "prompt_tokens": "UInt64",
            "completion_tokens": "UInt64",
            "version_min": "Int32",
            "version_max": "Int32",
            "signals": "Map(LowCardinality(String), Int64)",
            "contexts": "Array(Tuple(span_id String, agent String, parent_id String))",
        },
        "groups": _GROUPS,
        "replays": _GROUPS,
        "rules": {
            "rule": "LowCardinality(String)",
            "digest": "LowCardinality(String)",
            "text": "String",
        },
        "rule_changes": {
            "number": "UInt32",
            "rule": "LowCardinality(String)",
            "credit": "LowCardinality(String)",
        },
        "outcomes": {
            "project": "LowCardinality(String)",
            "rollout_id": "String",
            "sample_id": "String",
            "trainer": "LowCardinality(String)",
            "outcome": "LowCardinality(String)",
            "attempt": "String",
            "group_id": "String",
            "agent": "LowCardinality(String)",
            "policy": "LowCardinality(String)",
            "reason": "LowCardinality(String)",
            "detail": "String",
            "step": "Int32",
            "version_min": "Int32",
            "version_max": "Int32",
            "staleness": "Int32",
            "advantage": "Nullable(Float64)",
            "reward": "Nullable(Float64)",
            "tokens": "UInt32",
            "rule": "LowCardinality(String)",
            "credit": "LowCardinality(String)",
            "credits_version": "UInt64",
            "decided_at": "Int64",
            **_POSITION,
            "logp_gap": "Nullable(Float64)",
            "ratio_min": "Nullable(Float64)",
            "ratio_max": "Nullable(Float64)",
            "clipped": "Nullable(Float64)",
            "entropy": "Nullable(Float64)",
            "token_logprobs": "Array(Float32)",
            "token_entropies": "Array(Float32)",
            "token_masked": "Array(UInt8)",
        },
        "policies": {
            "policy": "LowCardinality(String)",
            "version": "Int32",
            "parent": "Int32",
            "created_at": "Int64",
            "trainer": "LowCardinality(String)",
            "uri": "String",
            "content_hash": "String",
            "weights_hash": "String",
            "config_hash": "String",
            "base_model": "String",
            "base_hash": "String",
            "reference": "String",
            "groups": "Array(String)",
            "samples": "UInt32",
            "metrics": "Map(LowCardinality(String), Float64)",
            "offsets": "Array(Tuple(topic String, partition Int32, offset Int64))",
            "offset": "UInt64",
            "log_time": "Int64",
        },
        "traffic": {
            "policy": "LowCardinality(String)",
            "version": "Int32",
            "shares": "Array(Tuple(version Int32, share Float64))",
            "offset": "UInt64",
            "log_time": "Int64",
            "said_by": "LowCardinality(String)",
            "why": "String",
            "judged": "Int32",
        },
        "tasks": {
            "project": "LowCardinality(String)",
            "rollout_id": "String",
            "group_id": "String",
            "group_size": "UInt32",
            "policy": "LowCardinality(String)",
            "version": "Int32",
            "split": "LowCardinality(String)",
            "agent": "String",
            "input": "String",
            "expected": "String",
            "deadline": "Int64",
            "subject": "Nullable(String)",
            **_POSITION,
        },
        "dead_letters": {
            "topic": "LowCardinality(String)",
            "partition": "UInt32",
            "offset": "UInt64",
            "reason": "LowCardinality(String)",
            "message": "String",
            "stage": "LowCardinality(String)",
            "size": "UInt32",
            "log_time": "Int64",
        },
        "halts": {
            "stage": "LowCardinality(String)",
            "consumer_group": "LowCardinality(String)",
            "topic": "LowCardinality(String)",
            "partition": "UInt32",
            "first_offset": "UInt64",
            "end_offset": "UInt64",
            "state": "LowCardinality(String)",
            "reason": "LowCardinality(String)",
            "detail": "String",
            "offset": "UInt64",
            "log_time": "Int64",
        },
        "drops": {
            "stage": "LowCardinality(String)",
            "consumer_group": "LowCardinality(String)",
            "topic": "LowCardinality(String)",
            "partition": "UInt32",
            "first_offset": "UInt64",
            "last_offset": "UInt64",
            "reason": "LowCardinality(String)",
            "detail": "String",
            "log_time": "Int64",
        },
        "vocabulary": {
            "policy": "LowCardinality(String)",
            "token_id": "UInt32",
            "bytes": "String",
        },
        "prices": {
            "model": "LowCardinality(String)",
            "since": "DateTime64(3, 'UTC')",
            "per_million_prompt": "Float64",
            "per_million_completion": "Float64",
            "per_second": "Float64",
        },
    }
)
"""Table -> its columns with ClickHouse's types, in order."""


@cache
def schema_of(table: str) -> pa.Schema:
    """The Arrow layout of an insert into a table, as it also comes back from a query."""
    return pa.schema({name: arrow_type(sql) for name, sql in TABLES[table].items()})


@cache
def spans_schema() -> pa.Schema:
    """The layout in which spans are folded: as `schema_of`, with words dictionary-coded."""
    return pa.schema(
        [
            pa.field(field.name, WORD if column.type is Type.WORD else field.type)
            for field, column in zip(schema_of("spans"), SPAN_COLUMNS, strict=True)
        ]
    )
