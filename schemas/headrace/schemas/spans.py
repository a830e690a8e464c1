"""A span as a producer holds it, before it is sealed into a columnar batch."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from headrace.schemas.vocabulary import SpanKind, SpanStatus

# Position = value of the `kind` column. Append only.
KINDS = tuple(kind.value for kind in SpanKind)
KIND = {name: number for number, name in enumerate(KINDS)}
STATUSES = tuple(status.value for status in SpanStatus)
NO_SPAN = "0" * 16

Array = npt.NDArray[Any]


@dataclass(kw_only=True, slots=True, frozen=True)
class Start:
    """What an attempt.start span says of its rollout."""

    group_id: str = ""
    group_size: int = 1
    group_rollouts: tuple[str, ...] = ()
    policy: str = ""
    split: str = "train"
    deadline: int = 0
    expected: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class Call:
    """What a call span says beyond a plain one: the model's own tokens and how they were drawn.

    Tokens are uint32, log-probabilities float32 under the sampling distribution; `runs` are
    (policy version, number of tokens) in order.
    """

    model: str = ""
    policy: str = ""
    response_id: str = ""
    prompt_ids: Array
    sampled_ids: Array
    logprobs: Array
    runs: tuple[tuple[int, int], ...] = ()
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    max_tokens: int = 0
    finish_reason: str = ""
    trainable: bool = False
    untrainable_reason: str = ""
    prompt_base: str = ""
    prompt_base_length: int = 0

    @property
    def run_version(self) -> tuple[int, ...]:
        """Policy version of each run."""
        return tuple(version for version, _ in self.runs)

    @property
    def run_length(self) -> tuple[int, ...]:
        """Tokens of each run."""
        return tuple(length for _, length in self.runs)


@dataclass(kw_only=True, slots=True, frozen=True)
class Reward:
    """A reward: dimension, value, who gave it, and the call or response it belongs to."""

    name: str
    value: float
    source: str = ""
    target: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class Span:
    """One span as a producer holds it. Times are nanoseconds of the agent's clock.

    At most one of `start`, `call`, `reward` is set, matching `kind`; an `attempt.end` span needs
    none (its batch number is filled in when it is sealed).
    """

    rollout_id: str
    attempt: str
    span_id: str
    kind: str
    name: str
    project: str = "default"
    subject: str | None = None
    parent_id: str = ""
    agent: str = ""
    status: str = "ok"
    started_at: int = 0
    ended_at: int = 0
    attributes: str = ""
    input: str = ""
    output: str = ""
    start: Start | None = None
    call: Call | None = None
    reward: Reward | None = None
