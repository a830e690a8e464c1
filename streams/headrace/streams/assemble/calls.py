"""The LLM calls of episodes, which of them may be trained, and their samples. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.schemas import Episode, EpisodeCall, Sample, call_id, sample_id
from headrace.schemas.spans import Array
from headrace.streams.assemble.keys import flags

_INT32 = int(np.iinfo(np.int32).max)
_COPIED = [
    "span_id", "parent_id", "agent", "name", "model", "policy", "response_id", "temperature",
    "finish_reason", "trainable", "untrainable_reason", "status", "input", "output", "started_at",
    "ended_at",
]  # fmt: skip
_COLUMNS = [
    *_COPIED, "run_versions", "run_lengths", "prompt_base", "prompt_base_length", "rollout_id",
    "attempt",
]  # fmt: skip


@dataclass(kw_only=True, slots=True, frozen=True)
class CallFacts:
    """One call: its public record, and what its sample needs. `row`: in the batch of spans."""

    record: EpisodeCall
    row: int
    call_id: str
    run_versions: list[int]
    run_lengths: list[int]
    prompt_base: str
    prompt_base_length: int


class Tokens:
    """Token columns of a batch of spans."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.prompt_ids = _Lists(batch, "prompt_ids")
        self.sampled_ids = _Lists(batch, "sampled_ids")
        self.logprobs = _Lists(batch, "logprobs")


def read_calls(
    batch: pa.RecordBatch, slot: Array, count: int, tokens: Tokens
) -> list[list[CallFacts]]:
    """Calls of `count` episodes in order of start, each judged trainable or not.

    `batch`: spans by episode and log order, `tokens` its own; `slot` [n]: the episode of each.
    """
    rows = np.flatnonzero(flags(batch, "call"))
    calls: list[list[CallFacts]] = [[] for _ in range(count)]
    cells = batch.select(_COLUMNS).take(pa.array(rows)).to_pylist()
    for i, row, cell in zip(slot[rows].tolist(), rows.tolist(), cells, strict=True):
        sampled = len(tokens.sampled_ids.of(row))
        reason = _own_reason(cell, sampled, tokens.logprobs.of(row))
        calls[i].append(_facts(cell, row, len(tokens.prompt_ids.of(row)), sampled, reason))
    for found in calls:
        found.sort(key=lambda call: (call.record.started_at, call.record.span_id))
    return [_with_bases(found) for found in calls]


def samples_of(episode: Episode, calls: Sequence[CallFacts], tokens: Tokens) -> list[Sample]:
    """One Sample for each trainable call of an episode; its rows point into `tokens`."""
    return [
        Sample(
            sample_id=sample_id(episode.rollout_id, episode.attempt, call.record.span_id),
            project=episode.project,
            rollout_id=episode.rollout_id,
            attempt=episode.attempt,
            group_id=episode.group_id,
            agent=call.record.agent,
            policy=call.record.policy or episode.policy,
            split=episode.split,
            prompt_base=call.prompt_base,
            prompt_base_length=call.prompt_base_length,
            prompt_ids=tokens.prompt_ids.of(call.row).tobytes(),
            sampled_ids=tokens.sampled_ids.of(call.row).tobytes(),
            logprobs=tokens.logprobs.of(call.row).tobytes(),
            run_versions=call.run_versions,
            run_lengths=call.run_lengths,
            temperature=call.record.temperature,
            subject=episode.subject,
        )
        for call in calls
        if call.record.trainable
    ]


class _Lists:
    """The lists of a column, as numpy views."""

    def __init__(self, batch: pa.RecordBatch, name: str) -> None:
        column = batch.column(name)
        self._offsets = column.offsets.to_numpy()
        self._values = column.values.to_numpy()

    def of(self, row: int) -> Array:
        """The list of a row."""
        view: Array = self._values[self._offsets[row] : self._offsets[row + 1]]
        return view


def _own_reason(cell: dict[str, Any], tokens: int, logprobs: Array) -> str:
    """Why a call cannot be trained, as far as it alone tells; '' if it can."""
    if not cell["trainable"]:
        return str(cell["untrainable_reason"]) or "not_trainable"
    if tokens == 0:
        return "no_tokens"
    if not np.isfinite(logprobs).all():
        return "invalid_logprobs"
    if sum(cell["run_lengths"]) != tokens or max(cell["run_versions"]) > _INT32:
        return "invalid_versions"
    if cell["prompt_base_length"] > _INT32:
        return "missing_base"
    return ""


def _facts(cell: dict[str, Any], row: int, prompt: int, tokens: int, reason: str) -> CallFacts:
    copied = {name: cell[name] for name in _COPIED}
    versions = [min(version, _INT32) for version in cell["run_versions"]]
    base_length = min(cell["prompt_base_length"], _INT32)
    copied |= {"trainable": reason == "", "untrainable_reason": reason}
    return CallFacts(
        record=EpisodeCall(
            **copied,
            version_min=min(versions, default=-1),
            version_max=max(versions, default=-1),
            prompt_tokens=min(prompt + base_length, _INT32),
            completion_tokens=tokens,
        ),
        row=row,
        call_id=call_id(cell["rollout_id"], cell["attempt"], cell["span_id"]),
        run_versions=versions,
        run_lengths=cell["run_lengths"],
        prompt_base=cell["prompt_base"],
        prompt_base_length=base_length,
    )


def _with_bases(calls: list[CallFacts]) -> list[CallFacts]:
    """Refuse calls whose prompt extends one that is not itself a sample: nobody has its tokens."""
    usable: set[str] = set()
    waiting = [call for call in calls if call.record.trainable]
    while ready := [c for c in waiting if not c.prompt_base or c.prompt_base in usable]:
        usable.update(name for call in ready for name in (call.call_id, call.record.span_id))
        waiting = [call for call in waiting if call not in ready]
    lost = {call.call_id for call in waiting}
    return [_baseless(call) if call.call_id in lost else call for call in calls]


def _baseless(call: CallFacts) -> CallFacts:
    record = replace(call.record, trainable=False, untrainable_reason="missing_base")
    return replace(call, record=record)
