"""A small world in the tables, for the views: two rules, two trainers and a shadow, a group whose
reward changed after it was trained, attempts that were repeated, and rollouts that have not ended.

Policy `a`, project `p`. Version 1 was trained on group g1, version 2 on g2, whose reward a user
took back afterwards. What the other rows are, is said where they are made.
"""

from __future__ import annotations

from datetime import UTC, datetime
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


def tell(client: ClickHouse) -> None:
    """Write all of it."""
    insert(client, "rule_changes", [change(1, OLD), change(2, NEW)])
    insert(client, "policies", POLICIES)
    insert(client, "traffic", [{"policy": "a", "version": 1, "offset": 6, "log_time": 9_500}])
    insert(client, "tasks", TASKS)
    insert(client, "episodes", EPISODES)
    insert(client, "spans", SPANS)
    insert(client, "groups", GROUPS)
    insert(client, "replays", REPLAYS)
    insert(client, "outcomes", OUTCOMES)
    insert(client, "halts", HALTS)
    insert(client, "vocabulary", [{"policy": "a", "token_id": 7, "bytes": "thi"}])
    insert(client, "prices", PRICES)


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


POLICIES = [
    version("a", 0, 1_000, 0),
    version("b", 0, 1_001, 1),
    version(
        "a", 1, 5_000, 2, groups=["g1"], samples=2, metrics={"reward": 0.5, "ess": 0.9, "loss": 2.0}
    ),
    version("b", 1, 5_001, 3, groups=["gb"], samples=1),
    version("a", 2, 9_000, 4, groups=["g2"], samples=2),
]


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


TASKS = [
    task("r1", "g1"),
    task("r2", "g1"),
    task("r3", "g2"),
    task("r4", "g2"),
    task("r5", "g5"),  # nobody has begun it
    task("r6", "g6"),  # at work
    task("r7", "g7"),  # ended; its group waits for another one
    task("r8", "g8"),  # stale
    task("r9", "g9"),  # credited, and the trainer has not decided
    task("rb", "gb", policy="b"),
    *(
        task(f"e{number}-{what}", f"e{number}-{what}", split="eval", version=number, input=what)
        for number in (0, 2)
        for what in ("easy", "hard")
    ),
]


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


EPISODES = [
    # Tried twice: the first attempt came to a result, a late one is superseded.
    episode("r1", "g1", signals={"tool_errors": 2}),
    episode("r1", "g1", attempt="t2", log_first=400, log_last=500),
    episode("r2", "g1"),
    episode("r3", "g2", version_min=1, version_max=1),
    episode("r4", "g2", version_min=1, version_max=2),
    episode("r6", "g6", state="open", status="unset", complete=False, version=1),
    episode("r7", "g7"),
    episode("r8", "g8"),
    episode("r9", "g9"),
    episode("rb", "gb", policy="b"),
    episode("free", "free", task_input="unasked"),  # an agent of which no task tells
    *(
        episode(
            f"e{number}-{what}",
            f"e{number}-{what}",
            split="eval",
            version_min=number,
            version_max=number,
            result=f"{what} by {number}",
        )
        for number in (0, 2)
        for what in ("easy", "hard")
    ),
]


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


SPANS = [
    call("r1", "c1"),
    call("r2", "c1"),
    call("r3", "c1", run_versions=[1]),
    call(
        "r4",
        "c1",
        run_versions=[1, 2],
        run_lengths=[1, 2],
        started_at=2_000_000_000,
        ended_at=3_000_000_000,
        input='[{"role":"system","content":"be brief"},{"role":"user","content":"what?"}]',
        output="",
    ),
    span(
        "r4",
        "tool",
        "tool",
        name="look",
        status="error",
        parent_id="c1",
        started_at=3_000_000_000,
        ended_at=3_100_000_000,
    ),
    call(
        "r4",
        "c2",
        prompt_base="c1",
        prompt_base_length=2,
        run_versions=[2],
        started_at=4_000_000_000,
        ended_at=4_250_000_000,
        input='[{"role":"system","content":"be brief"},{"role":"user","content":"what?"},'
        '{"role":"assistant","content":""},'
        '{"role":"tool","content":[{"type":"text","text":"seen"}],"tool_call_id":"x"}]',
        output="that",
    ),
    thumbs("r3", 1.0, 4_000),
    thumbs("r3", 0.0, 9_900),  # taken back after version 2 was made
    call("r8", "c1"),
    call("rb", "c1", policy="b"),
]


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


GROUPS = [
    group("g1", OLD, 310, member("r1", 9.0, 1.0), member("r2", 9.0, -1.0), row_version=2),
    group(
        "g1",
        NEW,
        311,
        member("r1", 1.0, 0.5, dimensions=short(0.25), token_weights=[0.5, 1.0, 0.0]),
        member("r2", 0.0, -0.5, dimensions=short(0.75)),
        member("r1", 0.5, attempt="t2", status="superseded"),
        std=0.5,
    ),
    # As it was credited first, and after the user took the reward back.
    group("g2", NEW, 320, member("r3", 1.0, 0.5, version_min=1), member("r4", 0.0, -0.5)),
    group(
        "g2",
        NEW,
        9_900,
        member("r3", 0.0, version_min=1, version_max=1),
        member("r4", 0.0, version_min=1, version_max=2),
        row_version=4,
        outcome="zero_advantage",
    ),
    group("g7", NEW, 330, member("r7", 1.0), state="open"),
    group("g8", NEW, 340, member("r8", 0.5), outcome="train"),
    # Long before: its only credit is by the old rule, and a late reward has just revised it.
    group("g9", OLD, 9_999, member("r9", 3.0, 1.0)),
    group("gb", NEW, 350, member("rb", 0.25), policy="b"),
    *(
        group(
            f"e{number}-{what}",
            NEW,
            360,
            member(f"e{number}-{what}", reward, version_min=number, version_max=number),
            split="eval",
            outcome="eval",
        )
        for number, what, reward in (
            (0, "easy", 1.0),
            (0, "hard", 0.0),
            (2, "easy", 1.0),
            (2, "hard", 1.0),
        )
    ),
]

REPLAYS = [group("g1", "score@3", 311, member("r1", 0.0, -0.5), member("r2", 1.0, 0.5))]


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


SEEN = {
    "entropy": 0.5,
    "token_logprobs": [-0.25, -0.25, -1.0],
    "token_entropies": [0.25, 0.5, 0.75],
    "token_masked": [0, 0, 1],
}

OUTCOMES = [
    trained("r1", "g1", 1, 0.5, 1.0) | SEEN,
    trained("r2", "g1", 1, -0.5, 0.0),
    trained("r3", "g2", 2, 0.5, 1.0),
    trained("r4", "g2", 2, -0.5, 0.0),
    outcome("r3", "g2", "revised", 2, reason="revised_after_training"),
    outcome("r8", "g8", "dropped", 2, reason="stale"),
    outcome("rb", "gb", "trained", 1, policy="b", trainer="trainer-b", tokens=3),
    *(
        outcome(f"e{number}-{what}", f"e{number}-{what}", "dropped", 2, reason="eval")
        for number in (0, 2)
        for what in ("easy", "hard")
    ),
    # The shadow decides otherwise, of everything.
    outcome("r1", "g1", "dropped", 7, reason="memory", trainer="shadow"),
    outcome("r8", "g8", "trained", 7, trainer="shadow", tokens=3),
    outcome("r9", "g9", "trained", 7, trainer="shadow", tokens=3),
]


# It became cheaper, long after all calls.
PRICES = [
    {"model": "a", "since": datetime.fromtimestamp(since, UTC), "per_million_completion": price}
    for since, price in ((0, 1e6), (1_000_000, 1.0))
]


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


HALTS = [halt(1, "halted", 0), halt(2, "halted", 1), halt(1, "resumed", 2)]
