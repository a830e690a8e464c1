"""Rows of every table with what a test does not say filled in, and their way into ClickHouse."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.clickhouse.tables import schema_of

OLD, NEW = "score@1", "score@2"
METHOD = "uniform/grpo/uniform@1"
Row = dict[str, Any]


def filled(kind: pa.DataType, given: object) -> object:
    """The value, or what ClickHouse has where there is none."""
    if pa.types.is_map(kind):
        return list(dict(given or {}).items())  # type: ignore[call-overload]
    if pa.types.is_list(kind):
        return [filled(kind.value_type, each) for each in given or []]  # type: ignore[attr-defined]
    if pa.types.is_struct(kind):
        part: Any = given or {}
        return {field.name: filled(field.type, part.get(field.name)) for field in kind}
    if given is not None:
        return given
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return ""
    return False if pa.types.is_boolean(kind) else 0


def insert(client: ClickHouse, table: str, rows: list[Row]) -> None:
    """Write rows; what they leave out is empty or 0."""
    schema = schema_of(table)
    whole = [
        {
            field.name: row[field.name]
            if field.name in row and row[field.name] is None
            else filled(field.type, row.get(field.name))
            for field in schema
        }
        for row in rows
    ]
    client.insert_arrow(table, pa.Table.from_pylist(whole, schema))


def change(number: int, rule: str) -> Row:
    return {"number": number, "rule": rule, "credit": METHOD}


def version(policy: str, number: int, log_time: int, offset: int, **more: Any) -> Row:
    return {
        "policy": policy,
        "version": number,
        "parent": number - 1,
        "trainer": f"trainer-{policy}",
        "created_at": log_time - 1,
        "offset": offset,
        "log_time": log_time,
        **more,
    }


def task(rollout: str, group: str, **more: Any) -> Row:
    return {
        "project": "p",
        "rollout_id": rollout,
        "group_id": group,
        "policy": "a",
        "version": -1,
        "split": "train",
        "agent": "m:run",
        "input": f"do {rollout}",
        "expected": "4",
        "log_time": 100,
        **more,
    }


def episode(rollout: str, group: str, **more: Any) -> Row:
    return {
        "project": "p",
        "rollout_id": rollout,
        "attempt": "t1",
        "version": 2,
        "state": "closed",
        "group_id": group,
        "policy": "a",
        "split": "train",
        "status": "ok",
        "complete": True,
        "log_first": 200,
        "log_last": 300,
        "calls": 1,
        "completion_tokens": 3,
        "signals": {"tool_errors": 0},
        **more,
    }


def span(rollout: str, span_id: str, kind: str, **more: Any) -> Row:
    return {
        "project": "p",
        "rollout_id": rollout,
        "attempt": "t1",
        "span_id": span_id,
        "log_time": 210,
        "kind": kind,
        "has_content": True,
        "reward_value": None,
        **more,
    }


def call(rollout: str, span_id: str, **more: Any) -> Row:
    return span(
        rollout,
        span_id,
        "call",
        **{
            "agent": "solver",
            "policy": "a",
            "started_at": 1_000_000_000,
            "ended_at": 1_500_000_000,
            "run_versions": [0],
            "run_lengths": [3],
            "prompt_ids": [1, 2],
            "sampled_ids": [7, 8, 9],
            "logprobs": [-0.5, -0.25, -1.0],
            "input": '[{"role":"user","content":"what?"}]',
            "output": "this",
            **more,
        },
    )


def thumbs(rollout: str, value: float, log_time: int) -> Row:
    return span(
        rollout,
        f"thumbs-{log_time}",
        "reward",
        reward_name="thumbs",
        reward_value=value,
        reward_source="user",
        log_time=log_time,
    )


def member(rollout: str, reward: float | None, advantage: float = 0.0, **more: Any) -> Row:
    return {
        "rollout_id": rollout,
        "attempt": "t1",
        "status": "used",
        "reward": reward,
        "advantage": advantage,
        "dimensions": [],
        "complete": True,
        **more,
    }


def group(name: str, rule: str, log_last: int, *members: Row, **more: Any) -> Row:
    return {
        "project": "p",
        "group_id": name,
        "rule": rule,
        "credit": METHOD,
        "row_version": 2,
        "state": "final",
        "policy": "a",
        "split": "train",
        "log_first": log_last - 10,
        "log_last": log_last,
        "outcome": "train",
        "members": list(members),
        "samples": [
            {
                "sample_id": f"{each['rollout_id']}/{each['attempt']}/c1/0",
                "rollout_id": each["rollout_id"],
                "attempt": each["attempt"],
                "agent": "solver",
                "advantage": each["advantage"],
                "trainable": True,
                "reward": None,
                "tokens": 3,
                "version_min": each.get("version_min", 0),
                "token_weights": each.get("token_weights", []),
            }
            for each in members
            if each["status"] == "used"
        ],
        **more,
    }


def short(value: float) -> list[Row]:
    return [{"name": "short", "value": value}]


def outcome(rollout: str, group_id: str, what: str, step: int, **more: Any) -> Row:
    return {
        "project": "p",
        "rollout_id": rollout,
        "sample_id": f"{rollout}/t1/c1/0",
        "trainer": "trainer-a",
        "outcome": what,
        "attempt": "t1",
        "group_id": group_id,
        "agent": "solver",
        "policy": "a",
        "step": step,
        "rule": NEW,
        "credit": METHOD,
        "advantage": None,
        "reward": None,
        "log_time": 5_000,
        **more,
    }


def trained(rollout: str, group_id: str, step: int, advantage: float, reward: float) -> Row:
    return outcome(
        rollout,
        group_id,
        "trained",
        step,
        advantage=advantage,
        reward=reward,
        tokens=3,
        staleness=1,
    )


def halt(partition: int, state: str, offset: int) -> Row:
    return {
        "stage": "assemble",
        "consumer_group": "headrace.assemble",
        "topic": "headrace.spans",
        "partition": partition,
        "first_offset": 40,
        "state": state,
        "reason": "poison",
        "offset": offset,
    }
