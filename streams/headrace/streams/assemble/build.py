"""Snapshots to records: the Episode, its Samples and its row of the table `episodes`. Pure.

What is built is a function of the set of spans alone, not of the order or the takes in which they
came, so one version never has two contents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from headrace.connectors.clickhouse.tables import schema_of
from headrace.schemas import Episode, EpisodeCall, EpisodeReward, EpisodeTool, Sample
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import (
    RowState,
    SpanKind,
)
from headrace.streams.assemble.calls import CallFacts, Tokens, read_calls, samples_of
from headrace.streams.assemble.contexts import with_contexts
from headrace.streams.assemble.facts import Facts, read_facts
from headrace.streams.assemble.folded import Folded, Snapshot
from headrace.streams.assemble.holes import missing_batches
from headrace.streams.assemble.keys import flags, parts_of
from headrace.streams.assemble.repeats import RepeatedBatch
from headrace.streams.assemble.rewards import read_rewards
from headrace.streams.cells import records
from headrace.streams.signals import Seen, Take, read_signals

_TOOL_COLUMNS = [field.name for field in fields(EpisodeTool)]
EPISODES_SCHEMA = schema_of("episodes")
REPEATED_SCHEMA = schema_of("repeated_batches")
_NO_EPISODES = pa.RecordBatch.from_pylist([], EPISODES_SCHEMA)
NO_REPEATS = pa.RecordBatch.from_pylist([], REPEATED_SCHEMA)


@dataclass(kw_only=True, slots=True, frozen=True)
class Built:
    """What a take publishes: closed episodes, their samples, and a row for each snapshot.

    `repeats`: rows of `repeated_batches`, to be stored before the rest leaves the worker.
    """

    episodes: list[Episode]
    samples: list[Sample]
    rows: pa.RecordBatch
    repeats: pa.RecordBatch


def build(folded: Folded, *, most_text: int) -> Built:
    """The records of a fold. An episode with over `most_text` bytes of text loses most of it."""
    snapshots, repeats = folded.snapshots, _repeated_rows(folded.repeats)
    if not snapshots:
        return Built(episodes=[], samples=[], rows=_NO_EPISODES, repeats=repeats)
    batch, slot = _whole(folded.rows), folded.slot
    count = len(snapshots)
    facts = read_facts(batch, slot, count)
    missing = missing_batches(batch, slot, count)
    missing = [m - snapshot.filled for m, snapshot in zip(missing, snapshots, strict=True)]
    tokens = Tokens(batch)
    calls = with_contexts(batch, slot, read_calls(batch, slot, count, tokens))
    tools = _read_tools(batch, slot, count)
    rewards = read_rewards(batch, slot, count)
    facts = [
        fact.completed(snapshot, [call.record for call in made])
        for fact, snapshot, made in zip(facts, snapshots, calls, strict=True)
    ]
    seen = [_seen(snapshots[i], facts[i], calls[i], tools[i], rewards[i]) for i in range(count)]
    signals = read_signals(Take(spans=batch, slot=slot, episodes=seen))
    episodes: list[Episode] = []
    samples: list[Sample] = []
    found: list[dict[str, Any]] = []
    for i, snapshot in enumerate(snapshots):
        episode = _episode(
            snapshot, facts[i], missing[i], signals[i], tools[i], calls[i], rewards[i]
        )
        episode = _without_texts(episode) if text_bytes(episode) > most_text else episode
        found.append(_row(snapshot, episode, [call for call in calls[i] if call.is_placed]))
        if snapshot.closed:
            episodes.append(episode)
            samples.extend(samples_of(episode, calls[i], tokens))
    return Built(
        episodes=episodes,
        samples=samples,
        rows=pa.RecordBatch.from_pylist(found, EPISODES_SCHEMA),
        repeats=repeats,
    )


def _whole(rows: pa.Table) -> pa.RecordBatch:
    batches = rows.to_batches()
    if len(batches) == 1:
        return batches[0]
    return rows.unify_dictionaries().combine_chunks().to_batches()[0]


def _read_tools(batch: pa.RecordBatch, slot: Array, count: int) -> list[list[EpisodeTool]]:
    rows = np.flatnonzero(flags(batch, SpanKind.TOOL))
    tools: list[list[EpisodeTool]] = [[] for _ in range(count)]
    for i, row in zip(slot[rows].tolist(), records(batch, rows, _TOOL_COLUMNS), strict=True):
        tools[i].append(EpisodeTool(**row))
    for found in tools:
        found.sort(key=lambda tool: (tool.started_at, tool.span_id))
    return tools


def _seen(
    snapshot: Snapshot,
    fact: Facts,
    calls: Sequence[CallFacts],
    tools: list[EpisodeTool],
    rewards: list[EpisodeReward],
) -> Seen:
    _, rollout_id, attempt = parts_of(snapshot.key)
    return Seen(
        rollout_id=rollout_id,
        attempt=attempt,
        has_start=fact.has_start,
        deadline=fact.deadline,
        log_first=snapshot.log_first,
        calls=[call.record for call in calls],
        tools=tools,
        rewards=rewards,
    )


def _episode(
    snapshot: Snapshot,
    fact: Facts,
    missing: int,
    signals: dict[str, int],
    tools: list[EpisodeTool],
    calls: Sequence[CallFacts],
    rewards: list[EpisodeReward],
) -> Episode:
    project, rollout_id, attempt = parts_of(snapshot.key)
    return Episode(
        project=project,
        rollout_id=rollout_id,
        attempt=attempt,
        subject=fact.subject,
        group_id=fact.group_id,
        group_size=fact.group_size,
        group_rollouts=fact.group_rollouts,
        policy=fact.policy,
        split=fact.split,
        deadline=fact.deadline,
        version=snapshot.version,
        n_spans=snapshot.n_spans,
        digest=snapshot.digest,
        closed_by=snapshot.closed_by,
        status=fact.status,
        complete=missing == 0,
        missing_batches=missing,
        log_first=snapshot.log_first,
        log_last=snapshot.log_last,
        task_input=fact.task_input,
        expected=fact.expected,
        result=fact.result,
        calls=[call.record for call in calls],
        tools=tools,
        rewards=rewards,
        signals=signals,
    )


def text_bytes(episode: Episode) -> int:
    """Bytes of an episode's texts in UTF-8."""
    texts = [episode.task_input, episode.expected, episode.result]
    parts: list[EpisodeCall | EpisodeTool] = [*episode.calls, *episode.tools]
    return sum(len(text.encode()) for text in texts) + sum(
        len(part.input.encode()) + len(part.output.encode()) for part in parts
    )


def _without_texts(episode: Episode) -> Episode:
    """The episode without the texts of its calls and tools, which stay in the table `spans`."""
    return replace(
        episode,
        calls=[replace(call, input="", output="") for call in episode.calls],
        tools=[replace(tool, input="", output="") for tool in episode.tools],
        task_input=episode.task_input[:100_000],
        expected=episode.expected[:100_000],
        result=episode.result[:100_000],
        signals={**episode.signals, "texts_dropped": 1},
    )


def _row(snapshot: Snapshot, episode: Episode, placed: Sequence[CallFacts]) -> dict[str, Any]:
    versions = [call for call in episode.calls if call.version_min >= 0]
    row = {name: getattr(episode, name, None) for name in EPISODES_SCHEMA.names}
    return row | {
        "state": RowState.CLOSED if snapshot.closed else RowState.OPEN,
        "partition": snapshot.partition,
        "close_by": snapshot.close_by,
        "calls": len(episode.calls),
        "tools": len(episode.tools),
        "rewards": len(episode.rewards),
        "prompt_tokens": sum(call.prompt_tokens for call in episode.calls),
        "completion_tokens": sum(call.completion_tokens for call in episode.calls),
        "version_min": min((call.version_min for call in versions), default=-1),
        "version_max": max((call.version_max for call in versions), default=-1),
        "signals": sorted(episode.signals.items()),
        "contexts": [
            {name: getattr(call.record, name) for name in ("span_id", "agent", "parent_id")}
            for call in placed
        ],
    }


def _repeated_rows(repeats: Sequence[RepeatedBatch]) -> pa.RecordBatch:
    """Rows of the table `repeated_batches`."""
    if not repeats:
        return NO_REPEATS
    rows = [
        (
            *parts_of(repeat.key),
            *repeat.number,
            repeat.partition,
            repeat.offset,
            repeat.log_time,
            -repeat.offset,
        )
        for repeat in repeats
    ]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(list(c), f.type) for c, f in zip(columns, REPEATED_SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=REPEATED_SCHEMA)
