"""A small world in the tables, for the views: two rules, two trainers and a shadow, a group whose
reward changed after it was trained, attempts that were repeated, and rollouts that have not ended.

Policy `a`, project `p`. Version 1 was trained on group g1, version 2 on g2, whose reward a user
took back afterwards. What the other rows are, is said where they are made.
"""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.connectors.clickhouse import ClickHouse
from tests.integration.clickhouse.rows import (
    NEW,
    OLD,
    call,
    change,
    episode,
    group,
    halt,
    insert,
    member,
    outcome,
    short,
    span,
    task,
    thumbs,
    trained,
    version,
)


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


POLICIES = [
    version("a", 0, 1_000, 0),
    version("b", 0, 1_001, 1),
    version(
        "a", 1, 5_000, 2, groups=["g1"], samples=2, metrics={"reward": 0.5, "ess": 0.9, "loss": 2.0}
    ),
    version("b", 1, 5_001, 3, groups=["gb"], samples=1),
    version("a", 2, 9_000, 4, groups=["g2"], samples=2),
]

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
HALTS = [halt(1, "halted", 0), halt(2, "halted", 1), halt(1, "resumed", 2)]
