"""The `groups` row: the credit stage's only memory, as Arrow columns and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.connectors.clickhouse.tables import schema_of
from headrace.schemas import Credits
from headrace.schemas.vocabulary import RowState, Untrainable
from headrace.streams.credit.core import Change, Held
from headrace.streams.credit.members import MemberCall, MemberFacts
from headrace.streams.credit.running import Running
from headrace.streams.credit.state import GroupState
from headrace.streams.reward import RewardResult

TABLE = "groups"

_NOTHING = Credits(outcome="")
"""What an open row says of credit."""

SCHEMA = schema_of(TABLE)


def rows_of(changes: Sequence[Change], rule: str, credit: str) -> pa.Table:
    """The rows of a take's changes, one block for `groups`."""
    return pa.Table.from_pylist([_row(change, rule, credit) for change in changes], SCHEMA)


def held_of(row: Mapping[str, Any]) -> Held:
    """A group as its row left it; exactly what `rows_of` was given."""
    state = GroupState(
        project=row["project"],
        group_id=row["group_id"],
        group_size=row["group_size"],
        group_rollouts=tuple(row["group_rollouts"]),
        policy=row["policy"],
        split=row["split"],
        deadline=row["deadline"],
        log_first=row["log_first"],
        log_last=row["log_last"],
        running=Running(**row["running"]),
    )
    calls: dict[tuple[str, str], list[MemberCall]] = {}
    for sample in row["samples"]:
        calls.setdefault((sample["rollout_id"], sample["attempt"]), []).append(
            MemberCall(
                sample_id=sample["sample_id"],
                agent=sample["agent"],
                policy=sample["policy"],
                reason=sample["call_reason"],
                version_min=sample["version_min"],
                version_max=sample["version_max"],
                tokens=sample["tokens"],
                reward=sample["reward"],
                observed=sample["observed"],
            )
        )
    for member in row["members"]:
        key = (member["rollout_id"], member["attempt"])
        state.members[key] = MemberFacts(
            rollout_id=key[0],
            attempt=key[1],
            version=member["episode_version"],
            complete=member["complete"],
            closed_status=member["closed_status"],
            reward=RewardResult(
                value=member["reward"],
                reason=member["reward_reason"],
                detail=member["reward_detail"],
                dimensions=tuple((each["name"], each["value"]) for each in member["dimensions"]),
            ),
            log_time=member["log_time"],
            calls=tuple(calls.get(key, ())),
        )
    return Held(state=state, partition=row["partition"], told=row["row_version"])


def _row(change: Change, rule: str, credit: str) -> dict[str, Any]:
    state, credits = change.held.state, change.credits or _NOTHING
    return {
        "project": state.project,
        "group_id": state.group_id,
        "rule": rule,
        "credit": credit,
        "row_version": change.row_version,
        "version": state.version,
        "state": RowState.OPEN if change.credits is None else RowState.FINAL,
        "partition": change.held.partition,
        "group_size": state.group_size,
        "group_rollouts": state.group_rollouts,
        "policy": state.policy,
        "split": state.split,
        "deadline": state.deadline,
        "close_by": change.close_by,
        "log_first": state.log_first,
        "log_last": state.log_last,
        "outcome": credits.outcome,
        "baseline": credits.baseline,
        "mean": credits.mean,
        "std": credits.std,
        "members": _members(state, credits),
        "samples": _samples(state, credits),
        "missing_rollouts": credits.missing_rollouts,
        "running": asdict(state.running),
    }


def _members(state: GroupState, credits: Credits) -> list[dict[str, Any]]:
    credited = {
        (member.rollout_id, member.attempt): (member.status, member.advantage)
        for member in credits.members
    }
    rows = []
    for member in state.members.values():
        status, advantage = credited.get(member.key, ("", 0.0))
        versions = [call for call in member.calls if _is_of(state.policy, call)]
        rows.append(
            {
                "rollout_id": member.rollout_id,
                "attempt": member.attempt,
                "episode_version": member.version,
                "status": status,
                "reward": member.reward.value,
                "reward_reason": member.reward.reason,
                "reward_detail": member.reward.detail,
                "dimensions": [
                    {"name": name, "value": value} for name, value in member.reward.dimensions
                ],
                "advantage": advantage,
                "calls": len(member.calls),
                "log_time": member.log_time,
                "complete": member.complete,
                "closed_status": member.closed_status,
                "version_min": min((call.version_min for call in versions), default=-1),
                "version_max": max((call.version_max for call in versions), default=-1),
            }
        )
    return rows


def _is_of(policy: str, call: MemberCall) -> bool:
    """Whether a call's versions are the episode's: a frozen agent's say nothing of it."""
    ours = not policy or call.policy in ("", policy)
    return call.version_min >= 0 and ours and call.reason != Untrainable.NOT_SELECTED


def _samples(state: GroupState, credits: Credits) -> list[dict[str, Any]]:
    credited = {
        sample.sample_id: (
            sample.advantage,
            sample.trainable,
            sample.reason,
            sample.token_weights or b"",
        )
        for sample in credits.samples
    }
    rows = []
    for member in state.members.values():
        for call in member.calls:
            advantage, trainable, reason, weights = credited.get(
                call.sample_id, (0.0, not call.reason, call.reason, b"")
            )
            rows.append(
                {
                    "sample_id": call.sample_id,
                    "rollout_id": member.rollout_id,
                    "attempt": member.attempt,
                    "agent": call.agent,
                    "policy": call.policy,
                    "advantage": advantage,
                    "trainable": trainable,
                    "reason": reason,
                    "call_reason": call.reason,
                    "version_min": call.version_min,
                    "version_max": call.version_max,
                    "tokens": call.tokens,
                    "reward": call.reward,
                    "observed": call.observed,
                    "token_weights": np.frombuffer(weights, "<f4"),
                }
            )
    return rows
