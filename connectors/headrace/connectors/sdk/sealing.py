"""Gathering spans into batches, one open batch a partition. No threads, no clock, no I/O."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from headrace.connectors.sdk.content import (
    EpisodeKey,
    check_episode,
    encodable,
    has_content,
    key_of,
)
from headrace.schemas import Span, build_span_batch, encode_body, partition_of
from headrace.schemas.topics import Topic

logger = logging.getLogger(__name__)

TOPIC = Topic.SPANS
REMEMBERED_EPISODES = 100_000


class Ticket:
    """What somebody who emitted a span durably waits for."""

    __slots__ = ("delivered", "spooled")

    def __init__(self) -> None:
        self.delivered: Future[None] = Future()
        self.spooled: Future[bool] = Future()
        """False: there is no spool, or it could not take the batch."""


@dataclass(kw_only=True, slots=True)
class OpenBatch:
    """Spans of one partition on their way into a batch; `due` is when it must be sealed."""

    partition: int
    due: float
    spans: list[Span] = field(default_factory=list)
    ids: set[tuple[EpisodeKey, str]] = field(default_factory=set)
    size: int = 0
    tickets: list[tuple[Span, Ticket]] = field(default_factory=list)


@dataclass(kw_only=True, slots=True)
class SealedBatch:
    """An encoded batch (Avro body, no header)."""

    partition: int
    spans: int
    body: bytes
    refused: list[Span]
    """Spans that cannot be encoded and were left out."""
    replaced: int
    """Spans with a value replaced because a batch cannot hold it."""


@dataclass(slots=True)
class _Episode:
    partition: int = -1
    next_batch: int = 0


class Sealer:
    """Open batches, and the numbers of one producer's sealed ones.

    `sequence` is gapless for each partition, `episode_batch` for each episode: a number is used
    up only by a batch that was built, or on purpose by `skip`, which leaves a visible hole.

    Callers hold one lock around all methods but `seal`, which only the sealing thread calls.
    """

    def __init__(
        self,
        producer: str,
        *,
        spans: int,
        size: int,
        partitions: int | None,
        durable_pause_s: float = 0.0,
    ) -> None:
        self.producer = producer
        self.partitions = partitions
        self._limits = spans, size
        # A batch that somebody waits for goes at once, but no sooner than this after the last one
        # of its partition: an idle producer is quick, a busy one fills its batches.
        self._durable_pause_s = durable_pause_s
        self._taken_at: dict[int, float] = {}
        self._open: dict[int, OpenBatch] = {}
        self._full: list[OpenBatch] = []
        self._unplaced: list[tuple[Span, int, float, Ticket | None]] = []
        self._episodes: OrderedDict[EpisodeKey, _Episode] = OrderedDict()
        self._sequences: dict[int, int] = {}

    @property
    def waiting(self) -> int:
        """Spans that are in no sealed batch yet."""
        batches = [*self._open.values(), *self._full]
        return len(self._unplaced) + sum(len(batch.spans) for batch in batches)

    def place(self, partitions: int) -> None:
        """The number of partitions is known now: spans that waited for it find theirs."""
        self.partitions = partitions
        unplaced, self._unplaced = self._unplaced, []
        for span, size, due, ticket in unplaced:
            self.add(span, size, due, ticket)

    def add(
        self,
        span: Span,
        size: int,
        due: float,
        ticket: Ticket | None = None,
        *,
        awaited: bool = False,
    ) -> bool:
        """Take a span that must be sealed by `due`; says whether the sealing thread has news.

        Of one that is waited for (by a ticket, or `awaited`) `due` is now: it is sealed then or
        after the pause.

        Raises InvalidId for an id of its episode off the pattern.
        """
        key = key_of(span)
        if self.partitions is None:
            self._episode(key)
            self._unplaced.append((span, size, due, ticket))
            return False
        partition = self._partition(key, self.partitions)
        if ticket is not None or awaited:
            last = self._taken_at.get(partition, float("-inf"))
            due = max(due, last + self._durable_pause_s)
        batch = self._open.get(partition)
        if batch is not None and (key, span.span_id) in batch.ids:
            # One id may be in a batch once: the second goes into the next.
            self._full.append(self._open.pop(partition))
            batch = None
        news = batch is None or due < batch.due
        if batch is None:
            batch = self._open[partition] = OpenBatch(partition=partition, due=due)
        batch.due = min(batch.due, due)
        batch.spans.append(span)
        batch.ids.add((key, span.span_id))
        batch.size += size
        if ticket is not None:
            batch.tickets.append((span, ticket))
        if len(batch.spans) >= self._limits[0] or batch.size >= self._limits[1]:
            self._full.append(self._open.pop(partition))
            return True
        return news

    def await_open(self, given: Sequence[tuple[Span, int]], due: float) -> list[Ticket]:
        """Take spans that are waited for together: a ticket for each batch that they went into.

        The partitions must be known. Raises InvalidId, before any is taken, for an id of an episode
        off the pattern.
        """
        for key in {key_of(span) for span, _ in given}:
            self._episode(key)
        last: dict[int, tuple[OpenBatch, Span]] = {}
        for span, size in given:
            self.add(span, size, due, awaited=True)
            partition = self._partition(key_of(span), self.partitions or 1)
            # A batch that this span filled is no longer open: it is the last of the full ones.
            batch = self._open.get(partition) or self._full[-1]
            last[id(batch)] = batch, span
        tickets = []
        for batch, span in last.values():
            tickets.append(ticket := Ticket())
            batch.tickets.append((span, ticket))
        return tickets

    def skip(self, span: Span) -> None:
        """Use up a number of the span's episode: a span that was dropped must leave a hole."""
        self._episode(key_of(span)).next_batch += 1

    def next_due(self) -> float | None:
        """When `take` next has something; None: not before another `add`."""
        if self._full:
            return float("-inf")
        return min((batch.due for batch in self._open.values()), default=None)

    def take(self, now: float, *, everything: bool = False) -> list[OpenBatch]:
        """The batches that are full or due, no longer open."""
        taken, self._full = self._full, []
        for partition, batch in list(self._open.items()):
            if everything or batch.due <= now:
                taken.append(self._open.pop(partition))
        self._taken_at.update((batch.partition, now) for batch in taken)
        return taken

    def number(self, spans: Sequence[Span]) -> dict[EpisodeKey, int]:
        """The next batch number of each episode among the spans, used up by this."""
        numbers: dict[EpisodeKey, int] = {}
        for span in spans:
            key = key_of(span)
            if key not in numbers:
                episode = self._episode(key)
                numbers[key] = episode.next_batch
                episode.next_batch += 1
        return numbers

    def seal(self, batch: OpenBatch, numbers: dict[EpisodeKey, int]) -> SealedBatch:
        """Encode a taken batch under its numbers.

        Where none of its spans can be encoded, `spans` is 0 and no sequence number is used up.
        """
        sequence = self._sequences.get(batch.partition, 0)
        spans: Sequence[Span] = batch.spans
        refused: list[Span] = []
        replaced = 0
        try:
            body = self._encode(spans, sequence, numbers)
        except Exception:  # one bad span must not take the others with it
            logger.debug("a batch of %d spans does not encode: looking for why", len(spans))
            given = spans
            spans, refused = self._encodable(spans, numbers)
            known = {id(span) for span in given}
            replaced = sum(id(span) not in known for span in spans)
            body = self._encode(spans, sequence, numbers) if spans else b""
        self._sequences[batch.partition] = sequence + bool(spans)
        return SealedBatch(
            partition=batch.partition,
            spans=len(spans),
            body=body,
            refused=refused,
            replaced=replaced,
        )

    def _encode(
        self, spans: Sequence[Span], sequence: int, numbers: dict[EpisodeKey, int]
    ) -> bytes:
        record = build_span_batch(
            spans,
            producer=self.producer,
            sequence=sequence,
            episode_batches=numbers,
            capture_content=any(map(has_content, spans)),
        )
        return encode_body(TOPIC, record)

    def _encodable(
        self, spans: Sequence[Span], numbers: dict[EpisodeKey, int]
    ) -> tuple[list[Span], list[Span]]:
        kept: list[Span] = []
        refused: list[Span] = []
        for span in spans:
            try:
                candidate = encodable(span)
                self._encode([candidate], 0, numbers)
                kept.append(candidate)
            except Exception:  # whatever is wrong with it, only this span is lost
                logger.exception("span %r of kind %r is left out", span.span_id, span.kind)
                refused.append(span)
        return kept, refused

    def _episode(self, key: EpisodeKey) -> _Episode:
        episode = self._episodes.get(key)
        if episode is not None:
            self._episodes.move_to_end(key)
            return episode
        check_episode(key)
        episode = self._episodes[key] = _Episode()
        if len(self._episodes) > REMEMBERED_EPISODES:
            self._episodes.popitem(last=False)
        return episode

    def _partition(self, key: EpisodeKey, partitions: int) -> int:
        episode = self._episode(key)
        if episode.partition < 0:
            episode.partition = partition_of(key[1], partitions)
        return episode.partition
