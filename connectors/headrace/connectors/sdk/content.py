"""What may be in a span: legal ids, texts of bounded length, and what `[privacy]` keeps."""

import json
from dataclasses import replace
from typing import Any, NamedTuple

from headrace.connectors.described import as_name, as_number, as_text, marked, type_name
from headrace.connectors.privacy import Privacy
from headrace.connectors.privacy.spans import captured_of, redacted_of
from headrace.connectors.sdk.config import SdkConfig
from headrace.schemas import KIND, STATUSES, Call, InvalidId, Reward, Span, Start, check_id

EpisodeKey = tuple[str, str, str]
"""(project, rollout_id, attempt)."""

_SPAN_BYTES = 64  # what a span weighs beside its texts and tokens
_TOKEN_BYTES = 12  # prompt or sampled id, and log-probability
_TEXTS = ("attributes", "input", "output")
CUT = "…[cut]"
CUT_BYTES = "headrace.cut_bytes"
"""Attribute of a span whose attributes were too long: how long they were."""


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
    """Raises InvalidId for an id, and ValueError for a kind or status, that is none.

    Of the episode's ids only that they are texts: their pattern is looked at once an episode.
    """
    for value in (*key_of(span), span.span_id, span.parent_id):
        if not issubclass(type(value), str):
            raise InvalidId(f"an id is a {type_name(value)}: it must be a string")
    for text, what in ((span.span_id, "span id"), (span.parent_id, "parent id")):
        if text or what == "span id":
            _check_hex(text, what)
    for value, what, words in ((span.kind, "kind", KIND), (span.status, "status", STATUSES)):
        if not issubclass(type(value), str) or value not in words:
            raise ValueError(f"{what} {as_name(value)!r} of a span: use one of {', '.join(words)}")


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
            if name == "attributes":
                long[name] = _smallest(text, len(blob), limit)
                continue
            kept = blob[: limit - len(CUT.encode())]
            long[name] = kept.decode(errors="ignore") + CUT
    return (replace(span, **long), True) if long else (span, False)


def _smallest(attributes: str, size: int, limit: int) -> str:
    """Attributes that are JSON still: the smallest that fit, and how many bytes there were.

    What we and others ask of them (an error's type, marks) is short.
    """
    found: dict[str, Any] = {}
    weights: dict[str, int] = {}
    try:
        found = dict(json.loads(attributes))
        weights = {key: len(json.dumps({key: value})) for key, value in found.items()}
    except (ValueError, TypeError, RecursionError):
        pass  # of what is no object, or is nested too deep, nothing can be kept
    told: dict[str, Any] = {CUT_BYTES: size}
    left = limit - len(json.dumps(told))
    for key in sorted(weights, key=weights.__getitem__):
        left -= weights[key]
        if left < 0:
            break
        told[key] = found[key]
    return json.dumps(told)  # ASCII: an escape may stand for what UTF-8 cannot hold


class Prepared(NamedTuple):
    """A span as it is sent."""

    span: Span
    was_cut: bool
    """Whether a text of it was too long."""
    was_redacted: bool
    """Whether something in it was replaced."""
    size: int
    """Approximate bytes."""


def prepared(span: Span, config: SdkConfig, privacy: Privacy) -> Prepared:
    """The span as it is sent.

    Raises InvalidId for an id, and ValueError for a kind or status, that is none.
    """
    check_span(span)
    try:
        return _fitted(span, config, privacy)
    except Exception:  # a text that is no string, for example
        return _fitted(encodable(span), config, privacy)


def _fitted(span: Span, config: SdkConfig, privacy: Privacy) -> Prepared:
    captured = captured_of(span, privacy)
    redacted = redacted_of(captured, privacy)
    # Cut behind that: half of what is to be redacted would not be known as such.
    short, was_cut = cut(redacted, config.text_bytes)
    return Prepared(short, was_cut, redacted is not captured, size_of(short))


def has_content(span: Span) -> bool:
    """Whether a batch has to hold texts or tokens for it."""
    if span.attributes or span.input or span.output:
        return True
    call = span.call
    return call is not None and bool(len(call.prompt_ids) or len(call.sampled_ids))


def encodable(span: Span) -> Span:
    """The span with every field of its type and in its range, and the mark if one was not."""
    fixer = _Fixer()
    fixed = fixer.span(span)
    if not fixer.replaced:
        return span
    return replace(fixed, attributes=marked(fixed.attributes, fixer.replaced))


class _Fixer:
    """Gives values the types that a batch needs, and counts those that were of another."""

    def __init__(self) -> None:
        self.replaced = 0

    def span(self, span: Span) -> Span:
        return replace(
            span,
            subject=None if span.subject is None else self._name(span.subject),
            name=self._name(span.name),
            agent=self._name(span.agent),
            started_at=self._whole(span.started_at, 64),
            ended_at=self._whole(span.ended_at, 64),
            start=span.start and self._start(span.start),
            call=span.call and self._call(span.call),
            reward=span.reward and self._reward(span.reward),
            **{name: self._text(getattr(span, name)) for name in _TEXTS},
        )

    def _start(self, start: Start) -> Start:
        return Start(
            group_id=self._name(start.group_id),
            group_size=self._whole(start.group_size, 32, otherwise=1),
            group_rollouts=tuple(self._name(rollout) for rollout in start.group_rollouts),
            policy=self._name(start.policy),
            split=self._name(start.split),
            deadline=self._whole(start.deadline, 64),
            expected=self._text(start.expected),
        )

    def _call(self, call: Call) -> Call:
        names = ("model", "policy", "response_id", "finish_reason", "untrainable_reason")
        texts: dict[str, Any] = {name: self._name(getattr(call, name)) for name in names}
        return replace(call, **texts)

    def _reward(self, reward: Reward) -> Reward:
        number, instead = as_number(reward.value)
        self.replaced += instead.replaced
        return Reward(
            name=self._name(reward.name),
            value=number,
            source=self._name(reward.source),
            target=self._name(reward.target),
        )

    def _name(self, value: Any) -> str:
        name = as_name(value)
        self.replaced += name is not value
        return name

    def _text(self, value: Any) -> str:
        text = as_text(value).text
        self.replaced += text is not value
        return text

    def _whole(self, value: Any, bits: int, otherwise: int = 0) -> int:
        """A value as a signed integer of so many bits; `otherwise` for what is none."""
        try:
            whole = int(max(-(1 << bits - 1), min(int(value), (1 << bits - 1) - 1)))
        except Exception:  # no number, or one without an end
            whole = otherwise
        self.replaced += whole is not value
        return whole
