"""A PolicyVersion and its outcomes in one transaction.

(rule: the version record is the commit point) The transactional id (policy and trainer) fences an
older incarnation: whoever starts last is the trainer (KIP-98).
"""

import logging
import time
from collections.abc import Callable, Iterable

from confluent_kafka import KafkaError, KafkaException, Message

from headrace.connectors.kafka import KafkaConfig, Outgoing, Patience, make_producer, why
from headrace.schemas import Codec, Outcome, PolicyRecord, PolicyVersion, PrunedVersion, to_avro
from headrace.schemas.topics import Topic
from headrace.trainer.errors import CommitRefused, CommitTimedOut, TrainerFenced

logger = logging.getLogger(__name__)

OUTCOMES, POLICIES = Topic.OUTCOMES, Topic.POLICIES
TRANSACTION_MS = 60_000
"""After this long the broker aborts a transaction whose trainer is gone; a trainer that starts
again aborts it at once."""
CALL_S = 10.0
"""How long a call to the broker may take before the wait is reported and the call repeated."""

_FENCED = (
    KafkaError._FENCED,
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
)


class Publisher:
    """Writes committed records for one (policy, trainer). Not for use by several threads.

    Its methods wait while the broker is away, an open transaction for as long as the broker keeps
    one. They raise TrainerFenced where a newer trainer took over, CommitTimedOut where nothing is
    known of a transaction that was open for longer, and CommitRefused for a fault that does not
    heal by itself.
    """

    def __init__(
        self, kafka: KafkaConfig, codec: Codec, patience: Patience, *, policy: str, trainer: str
    ) -> None:
        # No name holds a slash, so two pairs of names are never one id.
        self.transactional_id = f"headrace/{policy}/{trainer}"
        self.log_time = 0
        """Latest log time (milliseconds) of what has been written, by the brokers' word."""
        self._codec = codec
        self._patience = patience
        self._begun = float("inf")
        """When the transaction was begun."""
        self._kafka = kafka
        self._producer = make_producer(
            kafka,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=TRANSACTION_MS,
            message_timeout_ms=TRANSACTION_MS,
        )

    def start(self) -> None:
        """Fence older incarnations and end their transactions."""
        self._until_done("start", lambda: self._producer.init_transactions(CALL_S))

    def commit(
        self,
        *,
        version: PolicyVersion | None = None,
        pruned: Iterable[PrunedVersion] = (),
        outcomes: Iterable[Outcome] = (),
    ) -> None:
        """Write all of it, or none. Returns when the broker has committed.

        `version.offsets` say where to read on. The consumer group's offsets are no part of it: a
        broker that died left librdkafka's `send_offsets_to_transaction` waiting for minutes, its
        own limit notwithstanding.
        `pruned` are versions whose weights go once this is committed.
        """
        records = self._patience.until_done(lambda: self._records(version, pruned, outcomes))
        while True:
            try:
                self._attempt(records)
                return
            except KafkaException as error:
                self._raise_if_final(error)
                told = why(self._kafka, error, self._producer)
                logger.warning("the transaction is aborted and tried again: %s", told)
                self._until_done("abort", lambda: self._producer.abort_transaction(CALL_S))
                self._patience.pause(f"the broker refused a transaction: {told}")

    def _records(
        self,
        version: PolicyVersion | None,
        pruned: Iterable[PrunedVersion],
        outcomes: Iterable[Outcome],
    ) -> list[Outgoing]:
        records = [
            Outgoing(
                topic=OUTCOMES,
                key=outcome.sample_id or outcome.rollout_id,
                value=self._codec.encode(OUTCOMES, to_avro(outcome)),
            )
            for outcome in outcomes
        ]
        if version is not None:
            key = f"{version.policy}/version/{version.version}"
            records.append(self._of_policy(key, PolicyRecord(version=version)))
        for one in pruned:
            key = f"{one.policy}/pruned/{one.version}"
            records.append(self._of_policy(key, PolicyRecord(pruned=one)))
        return records

    def _of_policy(self, key: str, record: PolicyRecord) -> Outgoing:
        value = self._codec.encode(POLICIES, to_avro(record))
        return Outgoing(topic=POLICIES, key=key, value=value, partition=0)

    def _attempt(self, records: Iterable[Outgoing]) -> None:
        producer = self._producer
        self._begun = time.monotonic()
        producer.begin_transaction()
        for record in records:
            self._produce(record)
        self._until_done("commit", lambda: producer.commit_transaction(CALL_S))
        # Nothing is in flight: only what was heard of it is taken in.
        producer.flush(CALL_S)

    def _produce(self, record: Outgoing) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=(record.key or "").encode(),
                    partition=record.partition,
                    on_delivery=self._delivered,
                )
                return
            except BufferError:  # the local queue is full: let it drain
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.log_time = max(self.log_time, message.timestamp()[1])

    def _until_done(self, what: str, call: Callable[[], None]) -> None:
        """Repeat a call that only ran out of time; librdkafka goes on where it was.

        Not for longer than the broker keeps the transaction: after a broker's death librdkafka was
        seen to ask for ever, its transaction open on the broker and in the way of every reader.
        """
        while True:
            try:
                call()
                return
            except KafkaException as error:
                self._raise_if_final(error)
                if not error.args[0].retriable():
                    raise
                self._raise_if_given_up(error)
                told = why(self._kafka, error, self._producer)
                self._patience.pause(f"the broker did not {what} the transaction yet: {told}")

    def _raise_if_final(self, error: KafkaException) -> None:
        fault = error.args[0]
        if fault.code() in _FENCED:
            # The broker fences a transaction that it gave up by itself, with the same codes. Seen
            # where it was killed just before the commit: the client came back late.
            self._raise_if_given_up(error)
            raise TrainerFenced(
                f"transactions of {self.transactional_id} are refused: {fault.str()}. Another "
                "trainer with this policy and name has started: stop one of them, or give it "
                "another name"
            ) from error
        if fault.fatal() or not (fault.retriable() or fault.txn_requires_abort()):
            raise CommitRefused(
                f"transactions of {self.transactional_id} fail for good: {fault.str()}. Look at "
                "the broker's log and at this user's rights, then start the trainer again"
            ) from error

    def _raise_if_given_up(self, error: KafkaException) -> None:
        if (open_s := time.monotonic() - self._begun) * 1000 >= TRANSACTION_MS:
            raise CommitTimedOut(
                f"nothing is known of a transaction of {self.transactional_id} that was open for "
                f"{open_s:.0f} s: the broker committed it whole or gave it up. A start reads which"
            ) from error
