"""What a starting trainer learns from the log: its last commit, and what it has decided."""

import time
from dataclasses import dataclass, field

from headrace.connectors.kafka import KafkaConfig
from headrace.schemas import Outcome, PolicyRecord, from_avro
from headrace.schemas import PolicyVersion as Version
from headrace.trainer.accounts import TRAINED
from headrace.trainer.decode import Decoder
from headrace.trainer.intake import Decision, GroupKey
from headrace.trainer.log import Log, Partition, Record
from headrace.trainer.publish import OUTCOMES, POLICIES
from headrace.trainer.waiting import Patience

TELL_SECONDS = 5.0
"""A wait shorter than this is not worth a line in the log."""


@dataclass(kw_only=True, slots=True)
class Past:
    """The committed past of one trainer: of the versions of `publishes`, and of the outcomes that
    `trainer` gave to samples of `policy`."""

    policy: str
    trainer: str
    publishes: str
    last: Version | None = None
    """The newest committed version; None before the first start."""
    decided: dict[GroupKey, Decision] = field(default_factory=dict)
    """Groups that have ended, by project and group id."""

    @property
    def offsets(self) -> dict[Partition, int]:
        """Where to read on, per (topic, partition)."""
        if self.last is None:
            return {}
        return {(o.topic, o.partition): o.offset for o in self.last.offsets}

    def add_version(self, version: Version | None) -> None:
        """Take a PolicyVersion in; those of other policies are passed over."""
        if version is None or version.policy != self.publishes:
            return
        if self.last is None or version.version > self.last.version:
            self.last = version

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
    """Read policies and outcomes to their end (committed records only) into `past`.

    Outcomes are written in the transaction of the version they belong to, so a group counts as
    trained exactly if the version that trained it is committed. The end is the log's, not that
    of what is committed: while a transaction of another trainer is open, committed records of
    ours may stand behind it, unseen (KIP-98). The broker ends it after its time-out at the latest.
    """
    log_ = patience.until_there(
        lambda: Log(kafka, [POLICIES, OUTCOMES], f"headrace.trainer.{past.publishes}.past")
    )
    try:
        ends = patience.until_there(lambda: log_.ends(log_.partitions))
        tell_at = time.monotonic() + TELL_SECONDS
        while not log_.has_read(ends):
            for record in log_.read():
                _take(past, record, decoder)
                tell_at = time.monotonic() + TELL_SECONDS
            if time.monotonic() > tell_at:
                patience.pause("a transaction is open before the end of policies and outcomes")
    finally:
        log_.close()
    return past


def _take(past: Past, record: Record, decoder: Decoder) -> None:
    decoded = decoder.decode(record)
    if decoded is None:
        return
    if record.position.topic == POLICIES:
        past.add_version(from_avro(PolicyRecord, decoded).version)
    else:
        past.add_outcome(from_avro(Outcome, decoded))
