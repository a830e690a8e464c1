"""The credit stage: drives `core.Groups` with records, ClickHouse and Kafka."""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import (
    UNKNOWN_SCHEMA_S,
    DeadLetter,
    DeadLetters,
    Decoder,
    LogRecord,
    Partition,
    Patience,
    Registry,
)
from headrace.schemas import Codec, EpisodeBatch, from_avro
from headrace.schemas.topics import Topic
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.core import Arrival, Change, Groups
from headrace.streams.credit.delivery import CreditsWriter
from headrace.streams.credit.shares import shares_of
from headrace.streams.credit.store import GroupStore
from headrace.streams.host.config import HostConfig
from headrace.streams.ports import Letters, bury
from headrace.streams.reward import load_rule

logger = logging.getLogger(__name__)

NAME = "credit"
TOPIC = Topic.EPISODES


class CreditStage:
    """Episodes to Credits, exactly once per group and version, whatever is killed.

    Example: `run_stage(make_stage, host_config_from_environment(NAME, TOPIC))`.
    """

    name = NAME
    topics = (TOPIC,)

    def __init__(
        self,
        *,
        groups: Groups,
        store: GroupStore,
        credits: CreditsWriter,
        dead_letters: Letters,
        codec: Codec,
        unknown_schema_s: float = UNKNOWN_SCHEMA_S,
    ) -> None:
        self._groups = groups
        self._store = store
        self._credits = credits
        self._dead_letters = dead_letters
        self._codec = codec
        self._decoder = Decoder(self._arrivals, stage=NAME, unknown_schema_s=unknown_schema_s)
        self.counters: Counter[str] = groups.counters
        self._trained = frozenset(groups.method.roles.trained)
        self._patience = Patience(NAME)

    @property
    def waiting(self) -> str:
        """What the stage waits for; '' for nothing."""
        return self._patience.waiting

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Load the open groups of the partitions as stubs."""
        await self._patience.auntil_done(self._note_rule)
        numbers = [partition for _, partition in partitions]
        for partition, key, close_by in await self._patience.auntil_done(
            partial(self._store.open_groups, numbers)
        ):
            self._groups.stub(partition, key, close_by)
        if self._groups.method.running_mean:
            for partition, project, running in await self._patience.auntil_done(
                partial(self._store.running_means, numbers)
            ):
                self._groups.go_on_from(partition, project, running)

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Credit what follows from the records; returns when Credits and rows are durable, in this
        order (rule: rows before the acknowledgement).

        Returns those that could not be read.
        """
        for record in records:
            self._groups.advance(record.partition, record.log_time)
        filled = [record for record in records if not record.tick]
        decoded = await self._decoder.adecode(filled, self._patience)
        await bury(self._patience, self._dead_letters, decoded.refused)
        self.counters["dead_letters"] += len(decoded.refused)
        arrivals = [arrival for _, some in decoded.taken for arrival in some]
        if needs := self._groups.needs(arrivals):
            for held in await self._patience.auntil_done(partial(self._store.look_up, needs)):
                self._groups.restore(held)
        # Rules are a user's code and may take their time: off the event loop.
        changes = await asyncio.to_thread(self._folded, arrivals)
        if changes:
            final = [
                share
                for change in changes
                if change.credits is not None
                for share in shares_of(change.held.state, change.credits, self._trained)
            ]
            await self._patience.auntil_done(partial(self._credits.deliver, final))
            await self._patience.auntil_done(partial(self._store.write, changes))
            self._groups.evict(changes)
        self.counters["groups_waiting"] = self._groups.waiting_groups
        return decoded.refused

    def next_deadline(self, where: Partition) -> int | None:
        """Log time in milliseconds at which a group of the partition is due."""
        return self._groups.next_deadline(where[1])

    def _note_rule(self) -> None:
        rule = self._groups.rule
        if others := self._store.other_code(rule):
            logger.warning(
                "rule %s is not what it was: its code is %s, and stored rewards are of %s; give it "
                "a new version", rule.id, rule.digest, ", ".join(others),
            )  # fmt: skip
        self._store.note_code(rule)

    def _folded(self, arrivals: Sequence[Arrival]) -> list[Change]:
        self._groups.fold(arrivals)
        return self._groups.settle()

    def _arrivals(self, record: LogRecord) -> list[Arrival]:
        data = self._codec.decode(TOPIC, record.value)
        return [
            Arrival(partition=record.partition, log_time=record.log_time, episode=episode)
            for episode in from_avro(EpisodeBatch, data).episodes
        ]


def make_stage(config: CreditSettings, host: HostConfig) -> CreditStage:
    """The stage on the servers that the host's configuration names.

    Raises:
        RewardError: the configured rule cannot be used.
    """
    rule = load_rule(config.rule)
    kafka = host.kafka.client(f"headrace.{NAME}")
    codec = Codec(Registry(host.registry))
    groups = Groups(rule, config.method, config.patience, config.max_held)
    return CreditStage(
        groups=groups,
        store=GroupStore(ClickHouse(host.clickhouse), rule=rule.id, credit=config.method.id),
        credits=CreditsWriter(kafka, codec),
        dead_letters=DeadLetters(kafka),
        codec=codec,
        unknown_schema_s=host.unknown_schema_s,
    )
