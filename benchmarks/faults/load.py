"""The load of a fault run: small groups of attempts whose calls can be trained. Pure, seeded."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.schemas import Call, Reward, Span, Start, new_span_id, new_ulid, response_id

PROJECT, POLICY = "faults", "assistant"
_TOKENS = 250


@dataclass(kw_only=True, slots=True, frozen=True)
class Attempt:
    """One attempt's spans in the order in which they are made, and a reward that comes later."""

    rollout_id: str
    attempt: str
    spans: list[Span] = field(repr=False)
    late: Span | None = field(repr=False)


class Source:
    """Draws groups: sizes, calls and rewards by the seed, ids fresh."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def group(self, now_ns: int) -> list[Attempt]:
        """The attempts of one group, begun at `now_ns` of the agent's clock."""
        rollouts = tuple(new_ulid() for _ in range(int(self._random.integers(2, 5))))
        group = new_ulid()
        return [self._attempt(group, rollouts, i, now_ns) for i in range(len(rollouts))]

    def _attempt(self, group: str, rollouts: tuple[str, ...], index: int, now: int) -> Attempt:
        common: dict[str, Any] = {
            "project": PROJECT,
            "rollout_id": rollouts[index],
            "attempt": new_ulid(),
            "agent": "assistant",
            "started_at": now,
            "ended_at": now + 1_000_000,
        }
        start = Start(
            group_id=group,
            group_size=len(rollouts),
            group_rollouts=rollouts,
            policy=POLICY,
        )
        spans = [self._span("attempt.start", common, start=start, input="a question")]
        for _ in range(int(self._random.integers(1, 4))):
            spans += [self._call(common), self._span("tool", common, output="a result")]
        value = float(index % 2)
        given = Reward(name="reward", value=value, source="agent")
        spans += [
            self._span("reward", common, reward=given),
            self._span("attempt.end", common, output="done"),
        ]
        late = None
        if self._random.random() < 0.2:
            late = self._span(
                "reward", common, reward=Reward(name="reward", value=1 - value, source="user")
            )
        return Attempt(
            rollout_id=rollouts[index], attempt=common["attempt"], spans=spans, late=late
        )

    def _call(self, common: dict[str, Any]) -> Span:
        span_id = new_span_id()
        sampled = self._random.integers(0, _TOKENS, 4).astype("<u4")
        call = Call(
            model="tiny",
            policy=POLICY,
            response_id=response_id(span_id),
            prompt_ids=self._random.integers(0, _TOKENS, 6).astype("<u4"),
            sampled_ids=sampled,
            logprobs=np.full(len(sampled), -5.6, "<f4"),
            runs=((0, len(sampled)),),
            finish_reason="stop",
            trainable=True,
        )
        return Span(
            kind="call", name="chat", span_id=span_id, input="asked", output="answered", call=call,
            **common,
        )  # fmt: skip

    @staticmethod
    def _span(kind: str, common: dict[str, Any], **facts: Any) -> Span:
        return Span(kind=kind, name=kind, span_id=new_span_id(), **common, **facts)
