"""The load: episodes of agents that call a model, use tools, are rewarded and end. Pure, seeded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.schemas import (
    Call,
    Reward,
    Span,
    Start,
    Task,
    new_span_id,
    new_ulid,
    response_id,
    sample_id,
)
from headrace.schemas.spans import Array
from headrace.streams.assemble.keys import mix

MODEL = "smollm2-135m-instruct"
_VOCABULARY = 49_152
_WORDS = 6_000
_TEMPLATES = 256
_DAY_MS = 86_400_000


@dataclass(kw_only=True, slots=True, frozen=True)
class Shape:
    """What an episode looks like. Each call repeats the conversation so far, as agents do."""

    calls: int = 4
    prompt_tokens: int = 600
    """Of a call, on average."""
    completion_tokens: int = 100
    tool_tokens: int = 30
    """Of a tool's result."""
    group_size: int = 8

    def __post_init__(self) -> None:
        for name in ("calls", "completion_tokens", "tool_tokens", "group_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: use 1 or more")
        if self.first_prompt < 1:
            raise ValueError(
                f"prompt_tokens is {self.prompt_tokens}: {self.calls} calls of "
                f"{self.completion_tokens} tokens need more"
            )

    @property
    def first_prompt(self) -> int:
        """Prompt tokens of the first call; each further one has a completion and a result more."""
        grown = self.completion_tokens + self.tool_tokens
        return round(self.prompt_tokens - (self.calls - 1) / 2 * grown)

    @property
    def spans(self) -> int:
        """Spans of an episode: start, calls, a tool between two calls, reward, end."""
        return 2 * self.calls + 2


@dataclass(kw_only=True, slots=True, frozen=True)
class Episode:
    """One episode's task and spans, in the order in which an agent makes them."""

    task: Task
    attempt: str
    spans: list[Span] = field(repr=False)

    @property
    def expected(self) -> "Expected":
        """What the far end must have of it."""
        ids = [span.span_id for span in self.spans]
        return Expected(
            rollout_id=self.task.rollout_id,
            attempt=self.attempt,
            group_id=self.task.group_id,
            spans=len(ids),
            digest=digest_of(ids),
            samples=[
                sample_id(self.task.rollout_id, self.attempt, span.span_id)
                for span in self.spans
                if span.call is not None
            ],
        )


@dataclass(kw_only=True, slots=True, frozen=True)
class Expected:
    """An episode as its producer counts it; `digest` is that of its set of span ids."""

    rollout_id: str
    attempt: str
    group_id: str
    spans: int
    digest: int
    samples: list[str]


def digest_of(span_ids: Sequence[str]) -> int:
    """Wrapping int64 sum of the mixed span ids, as the column `digest` of `episodes`."""
    numbers = np.array([int(span_id, 16) for span_id in span_ids], np.uint64)
    return int(mix(numbers).sum(dtype=np.uint64).astype(np.int64))


class Source:
    """Draws groups of episodes.

    Texts and tokens come from a few hundred templates, far enough apart that no compressor sees
    one twice; ids are fresh. So an episode costs little to draw and is still worth its bytes.
    """

    def __init__(self, shape: Shape, *, project: str, seed: int = 0) -> None:
        self.shape = shape
        self.project = project
        self._random = np.random.default_rng(seed)
        self._words = [_word(self._random) for _ in range(_WORDS)]
        self._templates = [self._template() for _ in range(_TEMPLATES)]
        self._drawn = 0

    def group(self, now_ns: int) -> list[Episode]:
        """The episodes of one group, begun at `now_ns`."""
        size = self.shape.group_size
        group, rollouts = new_ulid(), tuple(new_ulid() for _ in range(size))
        return [self._episode(group, rollouts, i, now_ns) for i in range(size)]

    def groups(self, count: int, now_ns: int) -> list[list[Episode]]:
        """Some groups."""
        return [self.group(now_ns) for _ in range(count)]

    def _episode(self, group: str, rollouts: tuple[str, ...], index: int, now: int) -> Episode:
        template = self._templates[self._drawn % _TEMPLATES]
        self._drawn += 1
        task = Task(
            project=self.project,
            rollout_id=rollouts[index],
            group_id=group,
            group_size=len(rollouts),
            group_rollouts=list(rollouts),
            policy="assistant",
            version=1,
            input=template.question,
            expected='"yes"',
            deadline=now // 1_000_000 + _DAY_MS,
        )
        attempt = new_ulid()
        spans = list(self._spans(task, attempt, template, float(index % 2), now))
        return Episode(task=task, attempt=attempt, spans=spans)

    def _spans(
        self, task: Task, attempt: str, template: "_Template", reward: float, now: int
    ) -> Iterator[Span]:
        root = new_span_id()
        common: dict[str, Any] = {
            "project": task.project,
            "rollout_id": task.rollout_id,
            "attempt": attempt,
            "agent": "assistant",
            "started_at": now,
            "ended_at": now + 1_000_000,
        }
        child = {**common, "parent_id": root}
        start = Start(
            group_id=task.group_id,
            group_size=task.group_size,
            group_rollouts=tuple(task.group_rollouts),
            policy=task.policy,
            deadline=task.deadline,
            expected=task.expected,
        )
        yield Span(
            kind="attempt.start", name="assistant", span_id=root, input=task.input, start=start,
            **common,
        )  # fmt: skip
        for i, turn in enumerate(template.turns):
            span_id = new_span_id()
            yield Span(
                kind="call", name="chat", span_id=span_id, attributes=turn.attributes,
                input=turn.messages, output=turn.answer, call=_call(turn, response_id(span_id)),
                **child,
            )  # fmt: skip
            if i < len(template.turns) - 1:
                yield Span(
                    kind="tool", name="search", span_id=new_span_id(), input='{"query":"otters"}',
                    output=turn.result, **child,
                )  # fmt: skip
        given = Reward(name="reward", value=reward, source="agent")
        yield Span(kind="reward", name="reward", span_id=new_span_id(), reward=given, **child)
        yield Span(
            kind="attempt.end", name="assistant", span_id=new_span_id(), output='"yes"', **child
        )

    def _template(self) -> "_Template":
        shape = self.shape
        question = self._text(shape.first_prompt)
        prompt = self._tokens(shape.first_prompt)
        messages = [f'{{"role":"user","content":"{question}"}}']
        turns = []
        for _ in range(shape.calls):
            answer, result = self._text(shape.completion_tokens), self._text(shape.tool_tokens)
            sampled = self._tokens(shape.completion_tokens)
            logprobs = -self._random.exponential(0.7, len(sampled)).astype("<f4")
            turns.append(
                _Turn(
                    prompt=prompt, sampled=sampled, logprobs=logprobs,
                    messages=f"[{','.join(messages)}]", answer=answer, result=result,
                    attributes=_attributes(len(prompt), len(sampled)),
                )
            )  # fmt: skip
            prompt = np.concatenate([prompt, sampled, self._tokens(shape.tool_tokens)])
            messages += [
                f'{{"role":"assistant","content":"{answer}"}}',
                f'{{"role":"tool","content":"{result}"}}',
            ]
        return _Template(question=question[:400], turns=turns)

    def _tokens(self, count: int) -> Array:
        ids: Array = (self._random.zipf(1.1, count) % _VOCABULARY).astype("<u4")
        return ids

    def _text(self, tokens: int) -> str:
        """About a word for each token."""
        chosen = self._random.zipf(1.1, tokens) % _WORDS
        return " ".join(self._words[i] for i in chosen)


@dataclass(kw_only=True, slots=True, frozen=True)
class _Turn:
    prompt: Array
    sampled: Array
    logprobs: Array
    messages: str
    answer: str
    result: str
    attributes: str


@dataclass(kw_only=True, slots=True, frozen=True)
class _Template:
    question: str
    turns: list[_Turn]


def _word(random: np.random.Generator) -> str:
    letters = random.integers(97, 123, int(random.integers(2, 7)))
    return bytes(letters.astype(np.uint8)).decode()


def _attributes(prompt: int, sampled: int) -> str:
    return (
        f'{{"gen_ai.operation.name":"chat","gen_ai.request.model":"{MODEL}",'
        f'"gen_ai.usage.input_tokens":{prompt},"gen_ai.usage.output_tokens":{sampled}}}'
    )


def _call(turn: _Turn, response: str) -> Call:
    return Call(
        model=MODEL,
        policy="assistant",
        response_id=response,
        prompt_ids=turn.prompt,
        sampled_ids=turn.sampled,
        logprobs=turn.logprobs,
        runs=((1, len(turn.sampled)),),
        max_tokens=512,
        finish_reason="stop",
        trainable=True,
    )
