"""The LLM calls of episodes, which of them may be trained, and their samples. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.schemas import Episode, EpisodeCall, Sample, call_id, sample_id
from headrace.schemas.columns import SPAN_COLUMNS
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import SpanKind, Untrainable
from headrace.streams.assemble.keys import flags
from headrace.streams.cells import cells, records

_INT32 = int(np.iinfo(np.int32).max)
_COPIED = [
    field.name
    for field in fields(EpisodeCall)
    if field.name in {column.name for column in SPAN_COLUMNS}
    and field.name not in ("trainable", "untrainable_reason")
]
_JUDGED = [
    "trainable", "untrainable_reason", "run_versions", "run_lengths", "prompt_base",
    "prompt_base_length", "rollout_id", "attempt",
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
    is_placed: bool = False
    """Whether a framework's span of the call gave it its agent and parent."""


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

    `batch`: spans in log order within an episode, `tokens` its own; `slot` [n]: the episode of
    each.
    """
    rows = np.flatnonzero(flags(batch, SpanKind.CALL))
    calls: list[list[CallFacts]] = [[] for _ in range(count)]
    facts = map(
        _facts,
        rows.tolist(),
        records(batch, rows, _COPIED),
        cells(batch, rows, _JUDGED),
        tokens.prompt_ids.lengths[rows].tolist(),
        tokens.sampled_ids.lengths[rows].tolist(),
        tokens.logprobs.finite()[rows].tolist(),
    )
    for i, call in zip(slot[rows].tolist(), facts, strict=True):
        calls[i].append(call)
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
            finish_reason=call.record.finish_reason,
        )
        for call in calls
        if call.record.trainable
    ]


class _Lists:
    """The lists of a column, as numpy views. `lengths` [n]."""

    def __init__(self, batch: pa.RecordBatch, name: str) -> None:
        column = batch.column(name)
        self._offsets = column.offsets.to_numpy()
        self._values = column.values.to_numpy()
        self.lengths = np.diff(self._offsets)

    def of(self, row: int) -> Array:
        """The list of a row."""
        view: Array = self._values[self._offsets[row] : self._offsets[row + 1]]
        return view

    def finite(self) -> Array:
        """Whether all values of a row are finite numbers, bool [n]."""
        odd = np.concatenate([[0], np.cumsum(~np.isfinite(self._values))])
        none: Array = odd[self._offsets[1:]] == odd[self._offsets[:-1]]
        return none


def _facts(
    row: int,
    copied: dict[str, Any],
    judged: tuple[Any, ...],
    prompt: int,
    sampled: int,
    finite: bool,
) -> CallFacts:
    """One call from its cells of `_COPIED` and `_JUDGED` and the lengths of its token lists."""
    trainable, why, versions, lengths, base, base_length, rollout_id, attempt = judged
    reason = "" if trainable else why or Untrainable.NOT_TRAINABLE
    if not reason:
        reason = _unusable(versions, lengths, base_length, sampled, finite)
    versions = [min(version, _INT32) for version in versions]
    base_length = min(base_length, _INT32)
    return CallFacts(
        record=EpisodeCall(
            **copied,
            trainable=reason == "",
            untrainable_reason=reason,
            version_min=min(versions, default=-1),
            version_max=max(versions, default=-1),
            prompt_tokens=min(prompt + base_length, _INT32),
            completion_tokens=sampled,
        ),
        row=row,
        call_id=call_id(rollout_id, attempt, copied["span_id"]),
        run_versions=versions,
        run_lengths=lengths,
        prompt_base=base,
        prompt_base_length=base_length,
    )


def _unusable(
    versions: list[int], lengths: list[int], base_length: int, sampled: int, finite: bool
) -> str:
    """Why a call that its producer held for trainable is not, as far as it alone can say; or ''."""
    if sampled == 0:
        return Untrainable.NO_TOKENS
    if not finite:
        return Untrainable.INVALID_LOGPROBS
    if sum(lengths) != sampled or max(versions) > _INT32:
        return Untrainable.INVALID_VERSIONS
    if base_length > _INT32:
        return Untrainable.MISSING_BASE
    return ""


def _with_bases(calls: list[CallFacts]) -> list[CallFacts]:
    """Refuse calls whose prompt extends one that is not itself a sample: nobody has its tokens."""
    if not any(call.prompt_base for call in calls):
        return calls
    usable: set[str] = set()
    waiting = [call for call in calls if call.record.trainable]
    while ready := [c for c in waiting if not c.prompt_base or c.prompt_base in usable]:
        usable.update(name for call in ready for name in (call.call_id, call.record.span_id))
        waiting = [call for call in waiting if call not in ready]
    lost = {call.call_id for call in waiting}
    return [_baseless(call) if call.call_id in lost else call for call in calls]


def _baseless(call: CallFacts) -> CallFacts:
    record = replace(call.record, trainable=False, untrainable_reason=Untrainable.MISSING_BASE)
    return replace(call, record=record)
