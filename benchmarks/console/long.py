"""Episodes that are longer than any page, beside those of `seed`."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.console import seed

from headrace.connectors.clickhouse import ClickHouse

SPANS = 32_843
"""Of one episode: the longest that users of such consoles brought (console.md)."""
PROMPT_TOKENS = 200_000
CALLS, SAMPLED = 16, 500
_AT_ONCE = 2_000
_PADDING = (
    "INSERT INTO spans ({columns}) SELECT * EXCEPT (copy, n) REPLACE ("
    " concat(span_id, '.', toString(n)) AS span_id, 'tool' AS kind, 'look' AS name,"
    " [] AS prompt_ids, [] AS sampled_ids, [] AS logprobs, [] AS run_versions, [] AS run_lengths,"
    " '' AS response_id, false AS trainable, started_at + n * 1000000 AS started_at)"
    " FROM (SELECT {columns}, row_number() OVER (PARTITION BY rollout_id ORDER BY span_id) AS copy"
    " FROM spans WHERE rollout_id != '') ARRAY JOIN range(1, {each}) AS n WHERE copy = 1"
)


def pad_spans(client: ClickHouse, each: int) -> None:
    """Give each episode so many spans, about: copies of its first as tools that look."""
    held = client.query(
        "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = 'spans' "
        "AND default_kind NOT IN ('ALIAS', 'MATERIALIZED') ORDER BY position"
    )
    columns = ", ".join(f"`{row['name']}`" for row in held)
    client.command(_PADDING.replace("{columns}", columns).replace("{each}", str(each)))


def add_long(client: ClickHouse) -> str:
    """Insert an episode of `SPANS` spans, one of whose prompts has `PROMPT_TOKENS`; its page."""
    spans = [_call(0, prompt=PROMPT_TOKENS), *(_tool(number) for number in range(1, SPANS))]
    return _episode(client, "long", spans)


def add_sampled(client: ClickHouse) -> str:
    """Insert an episode of `CALLS` calls of `SAMPLED` tokens; its page."""
    return _episode(client, "sampled", [_call(number, prompt=900) for number in range(CALLS)])


def _episode(client: ClickHouse, rollout: str, spans: Sequence[dict[str, Any]]) -> str:
    key = {"project": "default", "rollout_id": rollout, "attempt": "a"}
    whole = {**key, "version": 3, "state": "closed", "complete": True, "status": "ok"}
    row = {
        **whole, "n_spans": len(spans), "policy": "calculator", "split": "train",
        "closed_by": "end", "group_id": rollout, "group_size": 1,
        "log_first": seed.BEGAN, "log_last": seed.BEGAN + 1,
        "calls": sum(span["kind"] == "call" for span in spans), "task_input": '{"question": "?"}',
    }  # fmt: skip
    client.insert_arrow("episodes", seed.table_of("episodes", [row]))
    for some in _chunks(spans):
        client.insert_arrow("spans", seed.table_of("spans", [{**key, **one} for one in some]))
    return f"/episodes/default/{rollout}/a"


def _chunks(spans: Sequence[dict[str, Any]]) -> Iterator[Sequence[dict[str, Any]]]:
    for begin in range(0, len(spans), _AT_ONCE):
        yield spans[begin : begin + _AT_ONCE]


def _call(number: int, *, prompt: int) -> dict[str, Any]:
    said = " ".join(f"word{place % 97}" for place in range(SAMPLED))
    return {
        "span_id": f"call{number:05}", "kind": "call", "name": "chat", "agent": "calculator",
        "policy": "calculator", "output": said, "prompt_ids": [7] * prompt,
        "input": json.dumps([{"role": "user", "content": "Go on. " * 40}]),
        "sampled_ids": [n % 997 for n in range(SAMPLED)],
        "logprobs": [-(n % 40) / 9 for n in range(SAMPLED)], "run_versions": [3],
        "run_lengths": [SAMPLED], "trainable": True, "status": "ok", "has_content": True,
        "started_at": (seed.BEGAN + number) * 1_000_000, "log_time": seed.BEGAN,
        "ended_at": (seed.BEGAN + number + 1) * 1_000_000, "offset": number,
        "last_episode_batch": -1, "finish_reason": "stop",
    }  # fmt: skip


def _tool(number: int) -> dict[str, Any]:
    return {
        "span_id": f"tool{number:05}", "kind": "tool", "name": "look", "agent": "calculator",
        "input": json.dumps({"page": number}), "output": f"Page {number} says nothing. " * 8,
        "started_at": (seed.BEGAN + number) * 1_000_000, "log_time": seed.BEGAN, "status": "ok",
        "ended_at": (seed.BEGAN + number + 1) * 1_000_000, "offset": number, "has_content": True,
        "last_episode_batch": -1,
    }  # fmt: skip
