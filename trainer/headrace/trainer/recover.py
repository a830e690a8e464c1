"""What a starting trainer learns from the log: its last commit, and what it has decided."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.kafka import KafkaConfig, Offsets, Partition, partitions_of
from headrace.schemas import Outcome, PolicyRecord, from_avro
from headrace.schemas import PolicyVersion as Version
from headrace.trainer.accounts import TRAINED
from headrace.trainer.decode import Decoder
from headrace.trainer.intake import UNCOMMITTED, Decided, Decision
from headrace.trainer.log import Log, Record
from headrace.trainer.publish import OUTCOMES, POLICIES
from headrace.trainer.waiting import Patience

TELL_SECONDS = 5.0
"""A wait shorter than this is not worth a line in the log."""
SKEW_MS = 600_000
"""How far the clocks of brokers may be apart: an outcome's log time and that of the records it is
about may come from two of them."""
KEEP_MS = 3_600_000
"""What was decided this shortly before the newest decision is never forgotten: records about it are
still being read."""
MOST = 200_000
"""Decisions in memory beyond which the older are forgotten; one takes 380 bytes (tracemalloc,
CPython 3.11)."""


class DecidedBefore(Decided):
    """Groups that have ended, read from `outcomes` only as far back as is asked for.

    An outcome of a group is later in the log than the group's first Episode and than every sample
    it is about. So whoever has read all outcomes since then (less the brokers' skew) knows
    whether the group is decided, be it by a record that is read again or by a revision that comes
    days later.

    Of more than `most` decisions the older half is forgotten, and read again for a record that may
    be about them, as after a restart. What was read so stays until as many groups have ended as
    were then in memory, so that late records cost few readings however many they are.

    newest: log time of the last version, near which most of what is asked for lies.
    read: takes in the outcomes of a span of log times [since, until), those of the end included
    where there is no `until`.
    """

    def __init__(
        self, newest: int, read: Callable[[int, int | None], None], *, most: int = MOST
    ) -> None:
        super().__init__()
        self._newest = newest
        self._read = read
        self._most = most
        self._room = most
        self._since = newest + 1  # decisions of this log time or later are all here
        self._until: int | None = None  # those of this log time or later have never been forgotten

    def reach(self, log_time: int) -> None:
        wanted = max(0, log_time - SKEW_MS)
        if wanted >= self._since:
            return
        # As far again as it is back by now: many old groups in a row cost few readings.
        span = max(SKEW_MS, self._newest - self._since)
        self._since = max(0, wanted - span)
        self._read(self._since, self._until)
        self._until = self._since
        self._room = max(self._most, 2 * len(self))

    def forget(self) -> None:
        if len(self) <= self._room:
            return
        times = sorted(one.log_time for one in self.values() if one.log_time != UNCOMMITTED)
        cut = min(times[len(times) // 2], times[-1] - KEEP_MS) if times else 0
        if cut > self._since:
            for key in [key for key, one in self.items() if one.log_time < cut]:
                del self[key]
            self._since = self._newest = cut
            self._until = cut + SKEW_MS  # log times may follow each other out of order
        self._room = max(self._most, len(self) + len(self) // 2)


@dataclass(kw_only=True, slots=True)
class Past:
    """The committed past of one trainer: of the versions of `publishes`, and of the outcomes that
    `trainer` gave to samples of `policy`."""

    policy: str
    trainer: str
    publishes: str
    last: Version | None = None
    """The newest committed version; None before the first start."""
    last_at: int = 0
    """Its log time in milliseconds; 0 before the first start."""
    decided: Decided = field(default_factory=Decided)

    @property
    def offsets(self) -> dict[Partition, int]:
        """Where to read on, per (topic, partition)."""
        if self.last is None:
            return {}
        return {(o.topic, o.partition): o.offset for o in self.last.offsets}

    def add_version(self, version: Version | None, log_time: int = 0) -> None:
        """Take a PolicyVersion in; those of other policies are passed over."""
        if version is None or version.policy != self.publishes:
            return
        if self.last is None or version.version > self.last.version:
            self.last, self.last_at = version, log_time

    def add_outcome(self, outcome: Outcome, log_time: int) -> None:
        """Take an Outcome in; those of other policies or trainers are passed over."""
        if outcome.policy != self.policy or outcome.trainer != self.trainer:
            return
        key = (outcome.project, outcome.group_id)
        known = self.decided.get(key, Decision(0, False, 0))
        self.decided[key] = Decision(
            max(known.credits_version, outcome.credits_version),
            known.trained or outcome.outcome == TRAINED,
            max(known.log_time, log_time),
        )


def read_past(kafka: KafkaConfig, decoder: Decoder, patience: Patience, past: Past) -> Past:
    """Read policies to their end, and of outcomes what may be needed, into `past`.

    Outcomes are written in the transaction of the version they belong to, so a group counts as
    trained exactly if the version that trained it is committed. The end is the log's, not that
    of what is committed: while a transaction of another trainer is open, committed records of
    ours may stand behind it, unseen (KIP-98). The broker ends it after its time-out at the latest.

    Of outcomes those about the last version are read at once, older ones when a record asks for
    them (`DecidedBefore`); before the first version there is no telling, and all are read.
    """
    history = _History(kafka, decoder, patience, past)
    history.read_policies()
    past.decided = DecidedBefore(past.last_at, history.read_outcomes)
    past.decided.reach(past.last_at)
    return past


class _History:
    """Reads policies and outcomes up to where they end now (committed records only)."""

    def __init__(
        self, kafka: KafkaConfig, decoder: Decoder, patience: Patience, past: Past
    ) -> None:
        self._kafka = kafka
        self._decoder = decoder
        self._patience = patience
        self._past = past
        self._offsets = Offsets(kafka)

    def read_policies(self) -> None:
        """Take in every version."""
        for record, data in self._read(POLICIES, {}, self._ends_of(POLICIES)):
            self._past.add_version(from_avro(PolicyRecord, data).version, record.position.log_time)

    def read_outcomes(self, since: int, until: int | None) -> None:
        """Take in the outcomes written at log times (milliseconds) from `since` on and before
        `until`, or up to the end.
        """
        ends = self._ends_of(OUTCOMES)
        if until is not None:
            ends = self._first_at(until, ends)
        for record, data in self._read(OUTCOMES, self._first_at(since, ends), ends):
            self._past.add_outcome(from_avro(Outcome, data), record.position.log_time)

    def _first_at(self, log_time: int, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """Offsets of the first records written at `log_time` or later; at most `ends`."""
        found = self._patience.until_there(lambda: self._offsets.since(ends, log_time))
        return {w: min(found[w], end) if found[w] >= 0 else end for w, end in ends.items()}

    def _ends_of(self, topic: str) -> dict[Partition, int]:
        count = self._patience.until_there(lambda: partitions_of(self._kafka, topic))
        partitions = [(topic, partition) for partition in range(count)]
        return self._patience.until_there(lambda: self._offsets.ends(partitions))

    def _read(
        self, topic: str, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> Iterator[tuple[Record, dict[str, Any]]]:
        group = f"headrace.trainer.{self._past.publishes}.past"
        log_ = self._patience.until_there(lambda: Log(self._kafka, [topic], group, starts))
        try:
            tell_at = time.monotonic() + TELL_SECONDS
            while not log_.has_read(ends):
                for record in log_.read():
                    tell_at = time.monotonic() + TELL_SECONDS
                    where = (topic, record.position.partition)
                    if record.position.offset >= ends[where]:
                        continue
                    if (data := self._decoder.decode(record)) is not None:
                        yield record, data
                if time.monotonic() > tell_at:
                    self._patience.pause(f"a transaction is open before the end of {topic}")
        finally:
            log_.close()
