"""Frameworks' own spans of calls that the gateway answered: they place its calls. Pure.

A span of kind `call.context` names the response that it is about. From it the gateway's call, which
no framework knows of, gets its agent, if it has none, and its place among the framework's spans.
What they say follows from the set of spans alone, in whatever order they came.
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
from headrace.streams.assemble.cells import cells
from headrace.streams.assemble.keys import flags

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
    contexts = flags(batch, SpanKind.CONTEXT)
    if not contexts.any():
        return placed
    rows = np.flatnonzero(np.isin(slot, slot[contexts]))
    rows = rows[_with_above(_above(batch, slot, rows), contexts[rows])]
    spans: dict[int, dict[str, Node]] = defaultdict(dict)
    for i, values in zip(slot[rows].tolist(), cells(batch, rows, _COLUMNS), strict=True):
        node = Node(**dict(zip(_COLUMNS, values, strict=True)))
        spans[i][node.span_id] = node
    for i, nodes in spans.items():
        found = _by_call([call.record for call in calls[i]], nodes.values())
        placed[i] = [
            replace(
                call, record=place(call.record, found[call.record.span_id], nodes), is_placed=True
            )
            if call.record.span_id in found
            else call
            for call in calls[i]
        ]
    return placed


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
    """A call with the parent, and if it has none the agent, that its contexts give it.

    Several instrumentations may have seen one call. The context that lies deepest under other spans
    knows most: its nearest ancestor that is no context of the call is the parent. The agent is the
    first that a context names itself, from the deepest up, else the nearest above one of them.
    """
    own = {context.span_id for context in contexts}
    chains = [_ancestors(context, spans) for context in contexts]
    ranked = sorted(
        zip(contexts, chains, strict=True),
        key=lambda pair: (-len(pair[1]), -pair[0].started_at, pair[0].span_id),
    )
    agents = [context.agent for context, _ in ranked]
    agents += [node.agent for _, chain in ranked for node in chain if node.span_id not in own]
    context, chain = ranked[0]
    inner = [context, *(node for node in chain if node.span_id in own)]
    parent = next((node.parent_id for node in inner if node.parent_id not in own), "")
    agent = call.agent or next(filter(None, agents), "")
    return replace(call, agent=agent, parent_id="" if parent == call.span_id else parent)


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
