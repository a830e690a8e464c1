"""Frameworks' own spans around calls that the gateway answered: they place its calls. Pure.

A span of kind `call.context` names the response that it is about, and a call may name the span that
it was made in. From these the gateway's call, which no framework knows of, gets its agent, if it
has none, and its place among the framework's spans. What they say follows from the set of spans
alone, in whatever order they came.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.schemas import EpisodeCall
from headrace.schemas.ids import span_of_response
from headrace.schemas.spans import Array
from headrace.schemas.vocabulary import SpanKind
from headrace.streams.assemble.calls import CallFacts
from headrace.streams.assemble.keys import flags
from headrace.streams.cells import cells

_COLUMNS = ("span_id", "parent_id", "agent", "kind", "response_id", "started_at")
_FAR = 1_000  # spans that are looked at on the way up


@dataclass(kw_only=True, slots=True, frozen=True)
class Node:
    """What placing a call needs of a span."""

    span_id: str
    parent_id: str
    agent: str
    kind: str
    response_id: str
    started_at: int


def with_contexts(
    batch: pa.RecordBatch, slot: Array, calls: Sequence[list[CallFacts]]
) -> list[list[CallFacts]]:
    """The calls of episodes as the contexts among their spans place them.

    `batch`: spans in log order within an episode; `slot` [n]: the episode of each; `calls`: of each
    episode.
    """
    placed = list(calls)
    known = flags(batch, SpanKind.CONTEXT) | _to_be_placed(batch)
    if not known.any():
        return placed
    rows = np.flatnonzero(np.isin(slot, slot[known]))
    rows = rows[_with_above(_above(batch, slot, rows), known[rows])]
    spans: dict[int, dict[str, Node]] = defaultdict(dict)
    for i, values in zip(slot[rows].tolist(), cells(batch, rows, _COLUMNS), strict=True):
        node = Node(**dict(zip(_COLUMNS, values, strict=True)))
        spans[i][node.span_id] = node
    for i, nodes in spans.items():
        found = _by_call([call.record for call in calls[i]], nodes.values())
        placed[i] = [_placed(call, found[call.record.span_id], nodes) for call in calls[i]]
    return placed


def _to_be_placed(batch: pa.RecordBatch) -> Array:
    """The calls without an agent that name a parent, and those that name themselves, bool [n]."""
    parents = batch.column("parent_id")
    named: Array = pc.not_equal(parents, "").to_numpy(zero_copy_only=False)
    itself: Array = pc.equal(parents, batch.column("span_id")).to_numpy(zero_copy_only=False)
    return (named & _without(batch, "agent") | itself) & flags(batch, SpanKind.CALL)


def _without(batch: pa.RecordBatch, column: str) -> Array:
    words = batch.column(column)
    empty = pc.equal(words.dictionary, "").to_numpy(zero_copy_only=False)
    rows: Array = empty[words.indices.to_numpy()]
    return rows


def _placed(call: CallFacts, contexts: Collection[Node], spans: Mapping[str, Node]) -> CallFacts:
    record = place(call.record, contexts, spans)
    return call if record == call.record else replace(call, record=record, is_placed=True)


def _above(batch: pa.RecordBatch, slot: Array, rows: Array) -> Array:
    """For each of `rows` where among them its parent in its episode is, or -1; int [n]."""
    episodes = pa.array(slot[rows]).cast(pa.string())
    own, parents = (
        pc.binary_join_element_wise(episodes, column, "/")
        for column in batch.select(["span_id", "parent_id"]).take(pa.array(rows)).columns
    )
    places: Array = pc.index_in(parents, value_set=own).fill_null(-1).to_numpy()
    return places


def _with_above(above: Array, some: Array) -> Array:
    """Some rows, bool [n], and those up to `_FAR` steps above them. `above` [n]: of `_above`."""
    found = some.copy()
    rows = np.flatnonzero(some)
    for _ in range(_FAR):
        rows = np.unique(above[rows])
        rows = rows[(rows >= 0) & ~found[rows]]
        if not len(rows):
            break
        found[rows] = True
    return found


def place(call: EpisodeCall, contexts: Collection[Node], spans: Mapping[str, Node]) -> EpisodeCall:
    """A call with the parent, and if it has none the agent, that other spans give it.

    They are found above its contexts, for several instrumentations may have seen one call, and
    above the parent that it names itself. What lies deepest under other spans knows most: the
    nearest span above it that is no context of the call is the parent. The agent is the first that
    a context names itself, from the deepest up, else the nearest above one of them.
    """
    own = {context.span_id for context in contexts}
    itself = spans.get(call.span_id)
    knowing = [*contexts] if itself is None else [itself, *contexts]
    ranked = sorted(
        ((node, _ancestors(node, spans)) for node in knowing),
        key=lambda pair: (-len(pair[1]), -pair[0].started_at, pair[0].span_id),
    )
    if not ranked:
        return call
    agents = [node.agent for node, _ in ranked]
    agents += [node.agent for _, chain in ranked for node in chain if node.span_id not in own]
    lowest, chain = ranked[0]
    inner = [lowest, *(node for node in chain if node.span_id in own)]
    parent = next((node.parent_id for node in inner if node.parent_id not in own), "")
    agent = call.agent or next(filter(None, agents), "")
    parent = "" if parent == call.span_id else parent
    same = agent == call.agent and parent == call.parent_id
    return call if same else replace(call, agent=agent, parent_id=parent)


def _ancestors(span: Node, spans: Mapping[str, Node]) -> list[Node]:
    """The spans above one, the nearest first; a ring of parents ends where it closes."""
    chain: list[Node] = []
    seen = {span.span_id}
    above = spans.get(span.parent_id)
    while above is not None and above.span_id not in seen and len(chain) < _FAR:
        chain.append(above)
        seen.add(above.span_id)
        above = spans.get(above.parent_id)
    return chain


def _by_call(calls: Iterable[EpisodeCall], spans: Iterable[Node]) -> dict[str, list[Node]]:
    """The contexts of each call, by its span id."""
    known: dict[str, str] = {}
    for call in calls:
        known[call.span_id] = call.span_id
        if call.response_id:
            known.setdefault(call.response_id, call.span_id)
    found: dict[str, list[Node]] = defaultdict(list)
    for node in spans:
        if node.kind == SpanKind.CONTEXT:
            named = span_of_response(node.response_id)
            span_id = known.get(named) or known.get(node.response_id)
            if span_id:
                found[span_id].append(node)
    return found
