"""Building a SpanBatch: from here on spans travel as packed columns only."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from headrace.schemas.errors import InvalidId
from headrace.schemas.ids import check_id
from headrace.schemas.spans import KIND, NO_SPAN, STATUSES, Span


class _Dictionary:
    """Strings of a batch, each once."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self.index.setdefault(text, len(self.index))


def _pack(values: Iterable[Any], dtype: str) -> bytes:
    return np.fromiter(values, dtype=dtype).tobytes()


def _pack_texts(texts: Sequence[str]) -> tuple[bytes, bytes]:
    blobs = [text.encode() for text in texts]
    offsets = np.zeros(len(blobs) + 1, dtype="<i4")
    np.cumsum([len(blob) for blob in blobs], out=offsets[1:])
    return offsets.tobytes(), b"".join(blobs)


def build_span_batch(
    spans: Sequence[Span],
    *,
    producer: str,
    sequence: int,
    episode_batches: Mapping[tuple[str, str, str], int],
    capture_content: bool = True,
) -> dict[str, Any]:
    """The Avro record of one sealed batch.

    `episode_batches` maps (project, rollout_id, attempt) to the number of this batch for that
    episode. Raises InvalidId for an id off the pattern.
    """
    strings = _Dictionary()
    strings("")
    episodes: dict[tuple[str, str, str], int] = {}
    subjects: dict[tuple[str, str, str], str | None] = {}
    for span in spans:
        key = (span.project, span.rollout_id, span.attempt)
        if key not in episodes:
            check_id(span.project, "project")
            check_id(span.rollout_id, "rollout_id")
            check_id(span.attempt, "attempt")
            episodes[key] = len(episodes)
        subjects[key] = span.subject or subjects.get(key)
    record: dict[str, Any] = {
        "producer": producer,
        "sequence": sequence,
        "n": len(spans),
        "episodes": [
            {
                "project": key[0],
                "rollout_id": key[1],
                "attempt": key[2],
                "subject": subjects[key],
                "episode_batch": episode_batches[key],
            }
            for key in episodes
        ],
        "episode": _pack((episodes[s.project, s.rollout_id, s.attempt] for s in spans), "<u2"),
        "span_id": b"".join(_span_id(s.span_id) for s in spans),
        "parent_id": b"".join(_span_id(s.parent_id or NO_SPAN) for s in spans),
        "kind": _pack((KIND[s.kind] for s in spans), "u1"),
        "name": _pack((strings(s.name) for s in spans), "<u2"),
        "agent": _pack((strings(s.agent) for s in spans), "<u2"),
        "status": _pack((STATUSES.index(s.status) for s in spans), "u1"),
        "started_at": _pack((s.started_at for s in spans), "<i8"),
        "ended_at": _pack((s.ended_at for s in spans), "<i8"),
        "calls": _build_calls(spans, strings),
        "rewards": _build_rewards(spans, strings),
        "starts": [
            {
                "row": row,
                "group_id": s.start.group_id,
                "group_size": s.start.group_size,
                "group_rollouts": list(s.start.group_rollouts),
                "policy": s.start.policy,
                "split": s.start.split,
                "deadline": s.start.deadline,
                "expected": s.start.expected,
            }
            for row, s in enumerate(spans)
            if s.start is not None
        ],
        "ends": [
            {
                "row": row,
                "last_episode_batch": episode_batches[s.project, s.rollout_id, s.attempt],
            }
            for row, s in enumerate(spans)
            if s.kind == "attempt.end"
        ],
        "content": _build_content(spans) if capture_content else None,
    }
    record["strings"] = list(strings.index)
    return record


def _span_id(text: str) -> bytes:
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b""
    if len(packed) != 8:
        raise InvalidId(f"span id {text[:40]!r} must be 16 hexadecimal digits")
    return packed


def _build_calls(spans: Sequence[Span], strings: _Dictionary) -> dict[str, Any] | None:
    rows = [(row, s.call) for row, s in enumerate(spans) if s.call is not None]
    if not rows:
        return None
    calls = [call for _, call in rows]
    return {
        "row": _pack((row for row, _ in rows), "<u4"),
        "model": _pack((strings(c.model) for c in calls), "<u2"),
        "policy": _pack((strings(c.policy) for c in calls), "<u2"),
        "finish_reason": _pack((strings(c.finish_reason) for c in calls), "<u2"),
        "untrainable_reason": _pack((strings(c.untrainable_reason) for c in calls), "<u2"),
        "trainable": _pack((c.trainable for c in calls), "u1"),
        "response_id": [c.response_id for c in calls],
        "temperature": _pack((c.temperature for c in calls), "<f4"),
        "top_p": _pack((c.top_p for c in calls), "<f4"),
        "top_k": _pack((c.top_k for c in calls), "<i4"),
        "seed": _pack((-1 if c.seed is None else c.seed for c in calls), "<i8"),
        "max_tokens": _pack((c.max_tokens for c in calls), "<i4"),
        "prompt_base": [c.prompt_base for c in calls],
        "prompt_base_length": _pack((c.prompt_base_length for c in calls), "<u4"),
        "prompt_length": _pack((len(c.prompt_ids) for c in calls), "<u4"),
        "sampled_length": _pack((len(c.sampled_ids) for c in calls), "<u4"),
        "run_count": _pack((len(c.runs) for c in calls), "<u4"),
        "run_version": _pack((version for c in calls for version, _ in c.runs), "<u4"),
        "run_length": _pack((length for c in calls for _, length in c.runs), "<u4"),
    }


def _build_rewards(spans: Sequence[Span], strings: _Dictionary) -> dict[str, Any] | None:
    rows = [(row, s.reward) for row, s in enumerate(spans) if s.reward is not None]
    if not rows:
        return None
    return {
        "row": _pack((row for row, _ in rows), "<u4"),
        "name": _pack((strings(r.name) for _, r in rows), "<u2"),
        "value": _pack((r.value for _, r in rows), "<f8"),
        "source": _pack((strings(r.source) for _, r in rows), "<u2"),
        "target": [r.target for _, r in rows],
    }


def _build_content(spans: Sequence[Span]) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    for column in ("attributes", "input", "output"):
        texts = [getattr(span, column) for span in spans]
        content[f"{column}_offsets"], content[column] = _pack_texts(texts)
    calls = [s.call for s in spans if s.call is not None]
    for column, dtype in (("prompt_ids", "<u4"), ("sampled_ids", "<u4"), ("logprobs", "<f4")):
        arrays = [np.asarray(getattr(call, column), dtype=dtype) for call in calls]
        content[column] = b"".join(array.tobytes() for array in arrays)
    return content
