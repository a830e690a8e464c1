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
from headrace.trainer.intake import Decided, Decision
from headrace.trainer.log import Log, Record
from headrace.trainer.publish import OUTCOMES, POLICIES
from headrace.trainer.waiting import Patience

TELL_SECONDS = 5.0
"""A wait shorter than this is not worth a line in the log."""
SKEW_MS = 600_000
"""How far the clocks of brokers may be apart: an outcome's log time and that of the records it is
about may come from two of them."""


class DecidedBefore(Decided):
    """Groups decided in earlier lives, read from `outcomes` only as far back as is asked for.

    An outcome of a group is later in the log than the group's first Episode and than every sample
    it is about. So whoever has read all outcomes since then (less the brokers' skew) knows
    whether the group is decided, be it by a record that is read again or by a revision that comes
    days later.

    newest: log time of the last version, near which most of what is asked for lies.
    read: reads the outcomes since a log time that have not been read yet.
    """

    def __init__(self, newest: int, read: Callable[[int], None]) -> None:
        super().__init__()
        self._newest = newest
        self._read = read
        self._since = newest + 1  # nothing has been read

    def reach(self, log_time: int) -> None:
        wanted = max(0, log_time - SKEW_MS)
        if wanted >= self._since:
            return
        # As far again as it is back by now: many old groups in a row cost few readings.
        span = max(SKEW_MS, self._newest - self._since)
        self._since = max(0, wanted - span)
        self._read(self._since)


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

    def add_outcome(self, outcome: Outcome) -> None:
        """Take an Outcome in; those of other policies or trainers are passed over."""
        if outcome.policy != self.policy or outcome.trainer != self.trainer:
            return
        key = (outcome.project, outcome.group_id)
        known = self.decided.get(key, Decision(0, False))
        self.decided[key] = Decision(
            max(known.credits_version, outcome.credits_version),
            known.trained or outcome.outcome == TRAINED,
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
        # Records from here on have been read, or were written by this life.
        self._ends = {topic: self._ends_of(topic) for topic in (POLICIES, OUTCOMES)}

    def read_policies(self) -> None:
        """Take in every version."""
        for record, data in self._read(POLICIES, {}):
            self._past.add_version(from_avro(PolicyRecord, data).version, record.position.log_time)

    def read_outcomes(self, since: int) -> None:
        """Take in the outcomes written at log time `since` (milliseconds) or later, but for those
        of the time before.
        """
        ends = self._ends[OUTCOMES]
        found = self._patience.until_there(lambda: self._offsets.since(ends, since))
        starts = {w: min(found[w], end) if found[w] >= 0 else end for w, end in ends.items()}
        for _, data in self._read(OUTCOMES, starts):
            self._past.add_outcome(from_avro(Outcome, data))
        self._ends[OUTCOMES] = starts

    def _ends_of(self, topic: str) -> dict[Partition, int]:
        count = self._patience.until_there(lambda: partitions_of(self._kafka, topic))
        partitions = [(topic, partition) for partition in range(count)]
        return self._patience.until_there(lambda: self._offsets.ends(partitions))

    def _read(
        self, topic: str, starts: Mapping[Partition, int]
    ) -> Iterator[tuple[Record, dict[str, Any]]]:
        group = f"headrace.trainer.{self._past.publishes}.past"
        ends = self._ends[topic]
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
