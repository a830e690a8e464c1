"""What may be in a span: legal ids, texts of bounded length, and what the capture mode keeps."""

from dataclasses import replace
from typing import Any

import numpy as np

from headrace.connectors.sdk.config import Capture
from headrace.schemas import KIND, STATUSES, InvalidId, Span, check_id
from headrace.schemas.vocabulary import Untrainable

EpisodeKey = tuple[str, str, str]
"""(project, rollout_id, attempt)."""

_SPAN_BYTES = 64  # what a span weighs beside its texts and tokens
_TOKEN_BYTES = 12  # prompt or sampled id, and log-probability
_TEXTS = ("attributes", "input", "output")
CUT = "…[cut]"


def key_of(span: Span) -> EpisodeKey:
    """The episode that a span belongs to."""
    return span.project, span.rollout_id, span.attempt


def size_of(span: Span) -> int:
    """Approximate bytes of a span in a batch."""
    size = _SPAN_BYTES + len(span.attributes) + len(span.input) + len(span.output)
    if span.call is not None:
        size += _TOKEN_BYTES * (len(span.call.prompt_ids) + len(span.call.sampled_ids))
    return size


def check_episode(key: EpisodeKey) -> None:
    """Raises InvalidId for an id of an episode that does not match the pattern."""
    for value, what in zip(key, ("project", "rollout_id", "attempt"), strict=True):
        check_id(value, what)


def check_span(span: Span) -> None:
    """Raises InvalidId for a span id, and ValueError for a kind or status, that is none."""
    for text, what in ((span.span_id, "span id"), (span.parent_id, "parent id")):
        if text or what == "span id":
            _check_hex(text, what)
    if span.kind not in KIND:
        raise ValueError(f"kind {span.kind!r} of a span: use one of {', '.join(KIND)}")
    if span.status not in STATUSES:
        raise ValueError(f"status {span.status!r} of a span: use one of {', '.join(STATUSES)}")


def _check_hex(text: str, what: str) -> None:
    try:
        legal = len(text) == 16 and len(bytes.fromhex(text)) == 8
    except ValueError:
        legal = False
    if not legal:
        raise InvalidId(f"{what} {text[:40]!r} must be 16 hexadecimal digits")


def cut(span: Span, limit: int) -> tuple[Span, bool]:
    """The span with no text above `limit` UTF-8 bytes, and whether one was cut."""
    long: dict[str, Any] = {}
    for name in _TEXTS:
        text = getattr(span, name)
        # A character is 4 bytes at most: most texts need no encoding to be known as short.
        if 4 * len(text) > limit and len(blob := text.encode(errors="replace")) > limit:
            kept = blob[: limit - len(CUT.encode())]
            long[name] = kept.decode(errors="ignore") + CUT
    return (replace(span, **long), True) if long else (span, False)


def redacted(span: Span, capture: Capture) -> Span:
    """The span without what the capture mode leaves out. Token ids are content."""
    if capture == "full":
        return span
    changes: dict[str, Any] = dict.fromkeys(_TEXTS, "")
    if span.start is not None:
        changes["start"] = replace(span.start, expected="")
    if span.call is not None:
        none = np.empty(0, dtype=np.uint32)
        changes["call"] = replace(
            span.call,
            prompt_ids=none,
            sampled_ids=none,
            logprobs=np.empty(0, dtype=np.float32),
            trainable=False,
            untrainable_reason=span.call.untrainable_reason or Untrainable.REDACTED,
        )
    return replace(span, **changes)


def printable(span: Span) -> Span:
    """The span with what UTF-8 cannot hold (lone surrogates) replaced in its strings."""
    names = ("name", "agent", *_TEXTS)
    texts = {name: getattr(span, name).encode(errors="replace").decode() for name in names}
    return replace(span, **texts)
