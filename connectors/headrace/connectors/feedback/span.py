"""A piece of feedback as a reward span. Pure, but for the time that it is given."""

import math
import re
import time
from dataclasses import dataclass
from hashlib import blake2b

from headrace.connectors.feedback.errors import BadFeedback
from headrace.connectors.feedback.places import Place
from headrace.schemas import Reward, Span, new_span_id
from headrace.schemas.vocabulary import SpanKind

SOURCE = "user"
_NAME = re.compile(r"[A-Za-z0-9._:/ -]{1,128}", re.ASCII)
_LONGEST_ID = 512
LIMIT = 1e30
"""As reward rules have it: beyond it a reward is invalid."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Feedback:
    """What somebody thinks of an episode, or of one call of it.

    `id`: feedback of one id for one episode counts once, however often it is sent; '' for feedback
    that is new each time. Raises BadFeedback for a name that is none or a value that is no finite
    number.
    """

    name: str
    value: float
    source: str = SOURCE
    id: str = ""

    def __post_init__(self) -> None:
        for field, text in (("name", self.name), ("source", self.source)):
            if not _NAME.fullmatch(text):
                raise BadFeedback(field, f"must match {_NAME.pattern}")
        if not math.isfinite(self.value) or abs(self.value) >= LIMIT:
            raise BadFeedback("value", f"is {self.value}: it must be a finite number")
        if len(self.id) > _LONGEST_ID:
            raise BadFeedback("id", f"has {len(self.id)} characters: give up to {_LONGEST_ID}")

    def span(self, place: Place, *, of_call: bool = False) -> Span:
        """The reward span, of the episode at `place` or of its call there."""
        now = time.time_ns()
        return Span(
            project=place.project,
            rollout_id=place.rollout_id,
            attempt=place.attempt,
            span_id=self._span_id(place),
            kind=SpanKind.REWARD,
            name=self.name,
            started_at=now,
            ended_at=now,
            reward=Reward(
                name=self.name,
                value=self.value,
                source=self.source,
                target=place.span_id if of_call else "",
            ),
        )

    def _span_id(self, place: Place) -> str:
        if not self.id:
            return new_span_id()
        whose = "\0".join((place.project, place.rollout_id, place.attempt, self.id))
        return blake2b(whose.encode(errors="replace"), digest_size=8).hexdigest()
