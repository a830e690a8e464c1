"""What the topics of spans and tasks say of some rollouts."""

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.kafka import KafkaConfig, Registry, Tailer
from headrace.infra.embedded import Stack
from headrace.schemas import (
    KINDS,
    STATUSES,
    Codec,
    Episode,
    MalformedRecord,
    SpanColumns,
    Texts,
    UnknownSchemaId,
    read_span_batch,
)
from headrace.streams.assemble.build import build
from headrace.streams.assemble.columns import LoggedBatch
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.core import Assembler
from headrace.streams.assemble.spans import Spans
from headrace.streams.credit import Arrival, CreditMethod, GroupPatience, Groups
from headrace.streams.reward import Rule
from tests.support.waiting import wait_until

WAIT_S = 90.0


TASKS, SPANS = "headrace.tasks", "headrace.spans"


@dataclass
class Seen:
    """Spans of one attempt: (kind, name, status) and the texts that matter."""

    spans: list[tuple[str, str, str]] = field(default_factory=list)
    starts: list[dict[str, Any]] = field(default_factory=list)
    result: str = ""
    task_input: str = ""
    producers: set[str] = field(default_factory=set)


class Watch:
    """What the topics say of some rollouts."""

    def __init__(self, stack: Stack) -> None:
        self._registry = Registry(stack.registry_url)
        self.codec = Codec(self._registry)
        self.kafka = KafkaConfig(bootstrap=stack.bootstrap)
        self._tailer = Tailer(self.kafka, [SPANS, TASKS, f"{TASKS}.dlq"], name="test.watch")
        self.attempts: dict[str, dict[str, Seen]] = defaultdict(lambda: defaultdict(Seen))
        self.tasks: list[dict[str, Any]] = []
        self.dead: list[bytes] = []
        self._batches: list[LoggedBatch] = []

    def until(self, done: Callable[[], bool]) -> None:
        """Read on until it is done and all is read."""

        def read_on() -> bool:
            for message in self._tailer.read(0.2):
                self._read(message)
            return self._tailer.caught_up and done()

        wait_until(read_on, lambda: f"the attempts; seen {self.attempts}", WAIT_S)

    def ended(self, rollout: str) -> int:
        return sum(
            any(kind == "attempt.end" for kind, _, _ in seen.spans)
            for seen in self.attempts[rollout].values()
        )

    def episodes(self, rollout: str) -> list[Episode]:
        """The attempts at a rollout as the assemble stage sees them."""
        mine = [
            batch
            for batch in self._batches
            if any(episode["rollout_id"] == rollout for episode in batch.columns.episodes)
        ]
        assembler = Assembler(AssembleConfig())
        assembler.fold(Spans(mine))
        built = build(assembler.settle(), most_text=1_000_000)
        return [one for one in built.episodes if one.rollout_id == rollout]

    def statuses(self, rollout: str) -> list[str]:
        """What these attempts are to their group when its time is over, first ones first."""
        groups = Groups(
            Rule(name="one", version="1", function=lambda _: 1.0), CreditMethod(), GroupPatience()
        )
        arrivals = [
            Arrival(partition=0, log_time=one.log_last, episode=one)
            for one in self.episodes(rollout)
        ]
        groups.advance(0, 1 << 60)
        groups.needs(arrivals)
        groups.fold(arrivals)
        (change,) = groups.settle()
        assert change.credits is not None
        return [member.status for member in change.credits.members]

    def close(self) -> None:
        self._tailer.close()
        self._registry.close()

    def _read(self, message: Any) -> None:
        if message.topic == f"{TASKS}.dlq":
            self.dead.append(message.value)
        elif message.topic == TASKS:
            with suppress(MalformedRecord, UnknownSchemaId):
                self.tasks.append(self.codec.decode(TASKS, message.value))
        else:
            with suppress(MalformedRecord, UnknownSchemaId):  # other tests write bad records
                batch = read_span_batch(self.codec.decode(SPANS, message.value))
                self._read_spans(batch)
                self._batches.append(
                    LoggedBatch(
                        columns=batch,
                        partition=message.partition,
                        offset=message.offset,
                        log_time=message.log_time,
                    )
                )

    def _read_spans(self, batch: SpanColumns) -> None:
        for row in range(batch.n):
            episode = batch.episodes[batch.episode[row]]
            seen = self.attempts[episode["rollout_id"]][episode["attempt"]]
            kind, name, status = (batch.spans[column][row] for column in ("kind", "name", "status"))
            seen.spans.append((KINDS[kind], batch.strings[name], STATUSES[status]))
            seen.producers.add(batch.producer)
            if KINDS[kind] == "attempt.end":
                seen.result = _text(batch.texts["output"], row)
            if KINDS[kind] == "attempt.start":
                seen.task_input = _text(batch.texts["input"], row)
                seen.starts += [start for start in batch.starts if start["row"] == row]


def _text(texts: Texts, row: int) -> str:
    return texts.blob[texts.offsets[row] : texts.offsets[row + 1]].decode()
