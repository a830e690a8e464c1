"""Precision and recall of the signals on `labelled_traces.jsonl`.

Each line is a trace with the signals that a person finds in it (`says`) and why. The traces were
written by hand, after what the gateway, the SDK, upstreams and frameworks put into their spans,
with look-alikes beside each kind, and with some that no rule on one episode's spans can tell.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headrace.schemas import Call, Span
from tests.streams.assembling import end, one_episode, span_id, start

TRACES = Path(__file__).with_name("labelled_traces.jsonl")
PAGE = Path(__file__).parents[2] / "docs" / "rewards.md"
JUDGED = (
    "tool_errors", "exceptions", "timeouts", "stuck_loops", "malformed_tool_calls", "truncations",
    "refusals", "retry_storms", "empty_completions", "ping_pongs",
)  # fmt: skip


def span_of(number: int, told: dict[str, Any]) -> Span:
    facts = {
        "name": "chat", "at": 10 * number, "until": 10 * number + 5, "finish_reason": "stop",
        "status": "ok", "tokens": len(told.get("output", "").split()), **told,
    }  # fmt: skip
    tokens = facts["tokens"]
    call = Call(
        model="m",
        policy="p",
        prompt_ids=np.arange(2),
        sampled_ids=np.arange(tokens),
        logprobs=np.full(tokens, -0.5),
        runs=((0, tokens),) if tokens else (),
        trainable=tokens > 0,
        finish_reason=facts["finish_reason"],
    )
    kept = ("kind", "name", "agent", "status", "input", "output", "attributes")
    return Span(
        rollout_id="r",
        attempt="a",
        span_id=span_id(number),
        started_at=facts["at"],
        ended_at=facts["until"],
        call=call if facts["kind"] == "call" else None,
        **{name: facts[name] for name in kept if name in facts},
    )


def traces() -> list[dict[str, Any]]:
    return [json.loads(line) for line in TRACES.read_text(encoding="utf-8").splitlines()]


def found_in(trace: dict[str, Any]) -> set[str]:
    spans = [span_of(number, told) for number, told in enumerate(trace["spans"], start=2)]
    _, episode = one_episode(start(), *spans, end(9_999))
    return set(episode.signals) & set(JUDGED)


@pytest.fixture(scope="module")
def counts() -> dict[str, Counter[str]]:
    counted: dict[str, Counter[str]] = {name: Counter() for name in JUDGED}
    for trace in traces():
        found, there = found_in(trace), set(trace["says"])
        for name in JUDGED:
            kind = {(1, 1): "right", (1, 0): "false", (0, 1): "missed", (0, 0): "left out"}
            counted[name][kind[name in found, name in there]] += 1
    return counted


def test_every_signal_has_traces_with_and_without_it(counts: dict[str, Counter[str]]) -> None:
    for name in JUDGED:
        there = counts[name]["right"] + counts[name]["missed"]
        assert there >= 3, name
        assert sum(counts[name].values()) - there >= 50, name


@pytest.mark.parametrize("name", JUDGED)
def test_precision_and_recall_are_what_the_page_says(
    name: str, counts: dict[str, Counter[str]]
) -> None:
    right, false, missed = (counts[name][kind] for kind in ("right", "false", "missed"))
    page = PAGE.read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}` \| (\d+) of (\d+) \| (\d+) of (\d+) \|", page, re.MULTILINE)
    assert row is not None, (
        f"| `{name}` | {right} of {right + false} | {right} of {right + missed} |"
    )
    assert [int(n) for n in row.groups()] == [right, right + false, right, right + missed]
