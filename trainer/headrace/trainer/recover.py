"""What a starting trainer learns from the log: its last commit, and what it has decided."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.kafka import (
    KafkaConfig,
    LogRecord,
    Offsets,
    Partition,
    Patience,
    Tailer,
    partitions_of,
)
from headrace.schemas import Outcome, PolicyRecord, PrunedVersion, Traffic, from_avro
from headrace.schemas import PolicyVersion as Version
from headrace.trainer.decided import Decision, GroupKey, Span, decision_of, merged
from headrace.trainer.publish import OUTCOMES, POLICIES
from headrace.trainer.reading import Reading

TELL_S = 5.0
"""A wait shorter than this is not worth a line in the log."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Whose:
    """One trainer: it gives outcomes as `trainer` to samples of `policy`, and its versions are
    those of `publishes`."""

    policy: str
    trainer: str
    publishes: str

    def add_outcome(
        self, decisions: dict[GroupKey, Decision], outcome: Outcome, log_time: int
    ) -> None:
        """Take an outcome into `decisions`; those of others are passed over."""
        if outcome.policy != self.policy or outcome.trainer != self.trainer:
            return
        key = (outcome.project, outcome.group_id)
        decisions[key] = merged(decisions.get(key), decision_of(outcome, log_time))


@dataclass(kw_only=True, slots=True)
class Past:
    """The last commit of a trainer: the newest version of `publishes`."""

    publishes: str
    last: Version | None = None
    """The newest committed version; None before the first start."""
    last_at: int = 0
    """Its log time in milliseconds; 0 before the first start."""
    versions: dict[int, Version] = field(default_factory=dict)
    """All of them, by number."""
    pruned: dict[int, PrunedVersion] = field(default_factory=dict)
    """Those whose weights are not kept."""
    traffic: Traffic = field(default_factory=Traffic)
    """The versions that are served."""

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
        self.versions[version.version] = version
        if self.last is None or version.version > self.last.version:
            self.last, self.last_at = version, log_time


class History:
    """Reads versions and outcomes of the committed past, each to where its topic ends now.

    Outcomes are written in the transaction of the version they belong to, so a group counts as
    trained exactly if the version that trained it is committed. The end is the log's, not that
    of what is committed: while a transaction of another trainer is open, committed records of
    ours may be behind it, unseen (KIP-98). The broker ends it after its time-out at the latest.
    """

    def __init__(
        self, kafka: KafkaConfig, reading: Reading, patience: Patience, whose: Whose
    ) -> None:
        self._kafka = kafka
        self._reading = reading
        self._patience = patience
        self._whose = whose
        self._offsets = Offsets(kafka)

    def last_commit(self) -> Past:
        """The newest version of the whole log of policies."""
        past = Past(publishes=self._whose.publishes)
        for record, data in self._read(POLICIES, {}, self._ends_of(POLICIES)):
            found = from_avro(PolicyRecord, data)
            past.add_version(found.version, record.log_time)
            if found.traffic is not None and found.traffic.policy == past.publishes:
                past.traffic = found.traffic
            if found.pruned is not None and found.pruned.policy == past.publishes:
                past.pruned[found.pruned.version] = found.pruned
        return past

    def decisions(self, span: Span) -> dict[GroupKey, Decision]:
        """How the groups ended whose outcomes were written in a span of log times."""
        ends = self._ends_of(OUTCOMES)
        if span.until is not None:
            ends = self._first_at(span.until, ends)
        found: dict[GroupKey, Decision] = {}
        for record, data in self._read(OUTCOMES, self._first_at(span.since, ends), ends):
            self._whose.add_outcome(found, from_avro(Outcome, data), record.log_time)
        return found

    def _first_at(self, log_time: int, ends: Mapping[Partition, int]) -> dict[Partition, int]:
        """Offsets of the first records written at `log_time` or later; at most `ends`."""
        found = self._patience.until_done(lambda: self._offsets.from_time(ends, log_time))
        return {where: min(found[where], end) for where, end in ends.items()}

    def _ends_of(self, topic: str) -> dict[Partition, int]:
        count = self._patience.until_done(lambda: partitions_of(self._kafka, topic))
        partitions = [(topic, partition) for partition in range(count)]
        return self._patience.until_done(lambda: self._offsets.ends(partitions))

    def _read(
        self, topic: str, starts: Mapping[Partition, int], ends: Mapping[Partition, int]
    ) -> Iterator[tuple[LogRecord, dict[str, Any]]]:
        group = f"headrace.trainer.{self._whose.publishes}.past"
        tailer = self._patience.until_done(
            lambda: Tailer(self._kafka, [topic], name=group, starts=starts)
        )
        try:
            tell_at = time.monotonic() + TELL_S
            while not tailer.has_read(ends):
                if records := tailer.read():
                    tell_at = time.monotonic() + TELL_S
                    before = [one for one in records if one.offset < ends[one.where]]
                    yield from self._reading.decode(before)[0]
                if time.monotonic() > tell_at:
                    self._patience.pause(f"a transaction is open before the end of {topic}")
        finally:
            tailer.close()
