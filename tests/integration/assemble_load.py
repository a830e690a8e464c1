"""Episodes for the assembler's test: what several producers send of them."""

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headrace.connectors.kafka import Outgoing, Writer
from headrace.schemas import (
    Call,
    Codec,
    Reward,
    Span,
    Start,
    build_span_batch,
    new_span_id,
    partition_of,
    response_id,
    sample_id,
)

TOPIC = "headrace.spans"
PROJECT = "assemble-test"


@dataclass
class Load:
    """Episodes of several producers on the topic, with re-sends; remembers what it sent."""

    writer: Writer
    codec: Codec
    partitions: int
    spans: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    samples: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    _numbers: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(lambda: -1))
    _sequence: int = 0

    def batch(self, producer: str, rollout: str, *spans: Span) -> Outgoing:
        """A sealed record of one rollout's spans."""
        self._numbers[producer, rollout] += 1
        self._sequence += 1
        numbers = {(PROJECT, rollout, "a"): self._numbers[producer, rollout]}
        record = build_span_batch(
            spans, producer=producer, sequence=self._sequence, episode_batches=numbers
        )
        for span in spans:
            self.spans[rollout].add(span.span_id)
            if span.call is not None and span.call.trainable:
                self.samples.add(sample_id(rollout, "a", span.span_id))
            if span.kind == "attempt.end":
                self.ended.add(rollout)
        return Outgoing(
            topic=TOPIC,
            value=self.codec.encode(TOPIC, record),
            partition=partition_of(rollout, self.partitions),
        )

    def episode(self, rollout: str, calls: int) -> list[Outgoing]:
        """Records of one rollout in the order in which its producers write them."""
        records = [self.batch("runner", rollout, span(rollout, "attempt.start", start=Start()))]
        for _ in range(calls):
            answer = llm_call(rollout)
            target = response_id(answer.span_id)
            given = Reward(name="step", value=0.5, target=target)
            records.append(self.batch("gateway", rollout, answer))
            if calls > 2:  # sent again under a number of its own, which no row will bear
                records.append(self.batch("gateway", rollout, answer))
            records.append(
                self.batch(
                    "agent", rollout, span(rollout, "tool"), span(rollout, "reward", reward=given)
                )
            )
        records.append(self.batch("runner", rollout, span(rollout, "attempt.end")))
        return records

    def late_reward(self, rollout: str) -> Outgoing:
        """A reward that comes when the episode is over."""
        return self.batch(
            "user", rollout, span(rollout, "reward", reward=Reward(name="late", value=1.0))
        )


def span(rollout: str, kind: str, **facts: Any) -> Span:
    return Span(
        project=PROJECT,
        rollout_id=rollout,
        attempt="a",
        span_id=new_span_id(),
        kind=kind,
        name=kind,
        started_at=time.time_ns(),
        input="some text",
        output="some other text",
        **facts,
    )


def llm_call(rollout: str) -> Span:
    call = Call(
        model="m",
        policy="p",
        prompt_ids=np.arange(50),
        sampled_ids=np.arange(10),
        logprobs=np.linspace(-1, 0, 10),
        runs=((1, 4), (2, 6)),
        finish_reason="stop",
        trainable=True,
    )
    return span(rollout, "call", call=call)
