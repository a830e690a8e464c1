"""Records of the topics as dataclasses, field for field as the `.avsc` files declare them.

The `.avsc` files are the truth (each field's `doc` there says what it means); a test holds
these classes equal to them. Those of policies are in `policy_records.py`. Spans travel in columns
instead: see `span_reader.py`.

Example: `from_avro(Task, codec.decode("headrace.tasks", value)).rollout_id`.
"""

import dataclasses
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

R = TypeVar("R")
_Convert = Callable[[Any], Any]


def to_avro(record: Any) -> dict[str, Any]:
    """A record dataclass as the plain dictionary that the codec encodes."""
    plan = _plan(type(record))
    data = dict(zip(plan.names, plan.values(record), strict=True))
    for name, write in plan.writes:
        data[name] = write(data[name])
    return data


def from_avro(cls: type[R], data: dict[str, Any]) -> R:
    """The dataclass of a decoded dictionary; a key that the class lacks is an error."""
    reads = _plan(cls).reads
    if not reads:
        return cls(**data)
    converted = {name: read(data[name]) for name, read in reads if name in data}
    return cls(**{**data, **converted})


@dataclass(kw_only=True, slots=True, frozen=True)
class _Plan:
    """How a class is converted: most fields are plain data, and only the others are looked at."""

    names: tuple[str, ...]
    values: Callable[[Any], tuple[Any, ...]]
    writes: tuple[tuple[str, _Convert], ...]
    reads: tuple[tuple[str, _Convert], ...]


_PLANS: dict[type, _Plan] = {}


def _plan(cls: type) -> _Plan:
    plan = _PLANS.get(cls)
    if plan is None:
        plan = _PLANS[cls] = _make_plan(cls)
    return plan


def _make_plan(cls: type) -> _Plan:
    hints = typing.get_type_hints(cls)
    fields: Any = dataclasses.fields(cls)
    names = tuple(field.name for field in fields)
    converters = [(name, *_converters(hints[name])) for name in names]
    return _Plan(
        names=names,
        # Of one name attrgetter gives the bare value.
        values=attrgetter(*names)
        if len(names) > 1
        else lambda record: (getattr(record, names[0]),),
        writes=tuple((name, write) for name, write, _ in converters if write is not _identity),
        reads=tuple((name, read) for name, _, read in converters if read is not _identity),
    )


def _identity(value: Any) -> Any:
    return value


def _converters(hint: Any) -> tuple[_Convert, _Convert]:
    """How a value of this type is written to and read from plain data."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return to_avro, lambda data: from_avro(hint, data)
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        write, read = _converters(typing.get_args(hint)[0])
        if write is _identity:
            return _identity, _identity
        return (
            lambda value: None if value is None else write(value),
            lambda value: None if value is None else read(value),
        )
    if origin is list:
        write, read = _converters(typing.get_args(hint)[0])
        if write is not _identity:
            return lambda items: [write(i) for i in items], lambda items: [read(i) for i in items]
    return _identity, _identity


@dataclass(kw_only=True, slots=True, frozen=True)
class Task:
    """A rollout to run."""

    project: str = "default"
    rollout_id: str = ""
    group_id: str = ""
    group_size: int = 1
    group_rollouts: list[str] = field(default_factory=list)
    policy: str = ""
    version: int = -1
    split: str = "train"
    agent: str = ""
    input: str = ""
    expected: str = ""
    deadline: int = 0
    subject: str | None = None
    cancelled: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class EpisodeCall:
    """One LLM call of an episode, without its tokens."""

    span_id: str = ""
    parent_id: str = ""
    agent: str = ""
    name: str = ""
    model: str = ""
    policy: str = ""
    response_id: str = ""
    version_min: int = -1
    version_max: int = -1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    temperature: float = 0.0
    finish_reason: str = ""
    trainable: bool = False
    untrainable_reason: str = ""
    status: str = ""
    input: str = ""
    output: str = ""
    started_at: int = 0
    ended_at: int = 0


@dataclass(kw_only=True, slots=True, frozen=True)
class EpisodeTool:
    """One tool execution."""

    span_id: str = ""
    parent_id: str = ""
    agent: str = ""
    name: str = ""
    status: str = ""
    input: str = ""
    output: str = ""
    started_at: int = 0
    ended_at: int = 0


@dataclass(kw_only=True, slots=True, frozen=True)
class EpisodeReward:
    """One reward given by a span."""

    span_id: str = ""
    name: str = ""
    value: float = 0.0
    source: str = ""
    target: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class Episode:
    """Snapshot of an episode: facts, texts and calls, no token arrays."""

    project: str = "default"
    rollout_id: str = ""
    attempt: str = ""
    subject: str | None = None
    group_id: str = ""
    group_size: int = 1
    group_rollouts: list[str] = field(default_factory=list)
    policy: str = ""
    split: str = "train"
    deadline: int = 0
    version: int = 0
    n_spans: int = 0
    digest: int = 0
    closed_by: str = ""
    status: str = ""
    complete: bool = True
    missing_batches: int = 0
    log_first: int = 0
    log_last: int = 0
    task_input: str = ""
    expected: str = ""
    result: str = ""
    calls: list[EpisodeCall] = field(default_factory=list)
    tools: list[EpisodeTool] = field(default_factory=list)
    rewards: list[EpisodeReward] = field(default_factory=list)
    signals: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True, frozen=True)
class EpisodeBatch:
    """Episodes of one partition, published together."""

    episodes: list[Episode] = field(default_factory=list)


@dataclass(kw_only=True, slots=True, frozen=True)
class Sample:
    """One trainable call's tokens."""

    sample_id: str = ""
    project: str = "default"
    rollout_id: str = ""
    attempt: str = ""
    group_id: str = ""
    agent: str = ""
    policy: str = ""
    split: str = "train"
    prompt_base: str = ""
    prompt_base_length: int = 0
    prompt_ids: bytes = b""
    sampled_ids: bytes = b""
    logprobs: bytes = b""
    run_versions: list[int] = field(default_factory=list)
    run_lengths: list[int] = field(default_factory=list)
    temperature: float = 1.0
    subject: str | None = None
    finish_reason: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class Member:
    """One episode of a group."""

    rollout_id: str = ""
    attempt: str = ""
    episode_version: int = 0
    status: str = ""
    reward: float | None = None
    advantage: float = 0.0
    calls: int = 0
    detail: str = ""


@dataclass(kw_only=True, slots=True, frozen=True)
class SampleCredit:
    """Credit of one sample."""

    sample_id: str = ""
    rollout_id: str = ""
    attempt: str = ""
    agent: str = ""
    advantage: float = 0.0
    trainable: bool = True
    reason: str = ""
    token_weights: bytes | None = None
    reward: float | None = None


@dataclass(kw_only=True, slots=True, frozen=True)
class Credits:
    """Credit of one group under one rule version and one credit version."""

    project: str = "default"
    group_id: str = ""
    group_size: int = 1
    policy: str = ""
    split: str = "train"
    rule: str = ""
    credit: str = ""
    version: int = 0
    log_first: int = 0
    outcome: str = "train"
    baseline: str = ""
    mean: float = 0.0
    std: float = 0.0
    members: list[Member] = field(default_factory=list)
    missing_rollouts: list[str] = field(default_factory=list)
    samples: list[SampleCredit] = field(default_factory=list)


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditsBatch:
    """Credits of one partition, published together."""

    credits: list[Credits] = field(default_factory=list)


@dataclass(kw_only=True, slots=True, frozen=True)
class Halt:
    """A partition that a consumer group stopped reading, or that a person let go on."""

    stage: str = ""
    group: str = ""
    topic: str = ""
    partition: int = 0
    offset: int = 0
    end: int = 0
    reason: str = ""
    message: str = ""
    state: str = "halted"


@dataclass(kw_only=True, slots=True, frozen=True)
class Outcome:
    """What became of a sample, or of a rollout that made none."""

    project: str = "default"
    rollout_id: str = ""
    attempt: str = ""
    sample_id: str = ""
    group_id: str = ""
    agent: str = ""
    policy: str = ""
    outcome: str = "dropped"
    reason: str = ""
    detail: str = ""
    trainer: str = ""
    step: int = 0
    version_min: int = -1
    version_max: int = -1
    staleness: int = 0
    advantage: float | None = None
    reward: float | None = None
    tokens: int = 0
    rule: str = ""
    credit: str = ""
    credits_version: int = 0
    decided_at: int = 0
    logp_gap: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    clipped: float | None = None
    entropy: float | None = None
    token_logprobs: bytes | None = None
    token_entropies: bytes | None = None
    token_masked: bytes | None = None
