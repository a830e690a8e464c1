"""How an episode's return became numbers of calls and tokens: a row of `groups` as a tree. Pure."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace.streams.credit.errors import UnknownMethod
from headrace.streams.credit.members import MemberCall
from headrace.streams.credit.registry import TOKEN_METHODS

_TOKEN_METHOD = re.compile(r"/([^/\[@]+)(\[[^/]*\])?@\d+$")


@dataclass(kw_only=True, slots=True, frozen=True)
class ExplainedCall:
    """One call: what it earned, what was noted of it, and what falls on its tokens.

    `first_token` and `last_token`: the advantage of these; None where the call is not trained, or
    where this release does not know the token method.
    """

    sample_id: str
    agent: str
    reward: float | None
    observed: str
    advantage: float
    trainable: bool
    reason: str
    tokens: int
    first_token: float | None
    last_token: float | None


@dataclass(kw_only=True, slots=True, frozen=True)
class Explained:
    """One episode under one rule and one credit method.

    `episodes`: of its group that take part. `observed_calls`: calls of the group of which the call
    method noted something; `observed_alone`: those of which it noted what it did of no other.
    """

    project: str
    rollout_id: str
    attempt: str
    group_id: str
    group_size: int
    episodes: int
    rule: str
    credit: str
    version: int
    state: str
    outcome: str
    status: str
    reward: float | None
    detail: str
    dimensions: dict[str, float]
    baseline: str
    mean: float
    std: float
    advantage: float
    observed_calls: int
    observed_alone: int
    calls: list[ExplainedCall]


def explain(row: Mapping[str, Any], rollout_id: str, attempt: str = "") -> Iterator[Explained]:
    """The rollout's episodes in a row of `groups`; of an attempt, or of all of them."""
    alone = _alone(row["samples"])
    for member in row["members"]:
        if member["rollout_id"] != rollout_id or attempt not in ("", member["attempt"]):
            continue
        calls = [s for s in row["samples"] if _episode(s) == _episode(member)]
        yield Explained(
            **{name: row[name] for name in _OF_GROUP},
            rollout_id=rollout_id,
            attempt=member["attempt"],
            episodes=sum(each["status"] == "used" for each in row["members"]),
            status=member["status"],
            reward=member["reward"],
            detail=member["reward_detail"] or member["reward_reason"],
            dimensions={each["name"]: each["value"] for each in member["dimensions"]},
            advantage=member["advantage"],
            observed_calls=sum(bool(call["observed"]) for call in row["samples"]),
            observed_alone=alone,
            calls=[_call(call, row["credit"]) for call in calls],
        )


_OF_GROUP = (
    "project", "group_id", "group_size", "rule", "credit", "version", "state", "outcome",
    "baseline", "mean", "std",
)  # fmt: skip


def _episode(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["rollout_id"], row["attempt"]


def _alone(samples: Sequence[Mapping[str, Any]]) -> int:
    """Calls of which something was noted that was noted of no other: with `gigpo`, of one state."""
    counts = Counter(sample["observed"] for sample in samples if sample["observed"])
    return sum(count == 1 for count in counts.values())


def _call(sample: Mapping[str, Any], credit: str) -> ExplainedCall:
    first, last = _ends(sample, credit) if sample["trainable"] else (None, None)
    return ExplainedCall(
        sample_id=sample["sample_id"],
        agent=sample["agent"],
        reward=sample["reward"],
        observed=sample["observed"],
        advantage=sample["advantage"],
        trainable=sample["trainable"],
        reason=sample["reason"],
        tokens=sample["tokens"],
        first_token=first,
        last_token=last,
    )


def _ends(sample: Mapping[str, Any], credit: str) -> tuple[float | None, float | None]:
    named = _TOKEN_METHOD.search(credit)
    try:
        method = TOKEN_METHODS.named(named[1] if named else "")
    except UnknownMethod:
        return None, None
    call = MemberCall(
        sample_id=sample["sample_id"], agent=sample["agent"], reason="", version_min=-1,
        version_max=-1, tokens=sample["tokens"], reward=sample["reward"],
        observed=sample["observed"],
    )  # fmt: skip
    packed = method.weights(call)
    if packed is None:
        return sample["advantage"], sample["advantage"]
    weights = np.frombuffer(packed, "<f4") * sample["advantage"]
    return (float(weights[0]), float(weights[-1])) if len(weights) else (None, None)
