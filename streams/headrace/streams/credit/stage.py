"""The credit stage: drives `core.Groups` with records, ClickHouse and Kafka.

Credits are told at once; rows of `groups` follow in larger blocks, and are acknowledged then.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import pyarrow as pa

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
from headrace.schemas import Codec
from headrace.streams.credit.arrivals import TOPIC, arrivals_of
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.core import Arrival, Change, Groups
from headrace.streams.credit.delivery import CreditsWriter
from headrace.streams.credit.left_open import LeftOpen
from headrace.streams.credit.shares import shares_of
from headrace.streams.credit.slow import SlowRule
from headrace.streams.credit.state import GroupKey
from headrace.streams.credit.store import GroupStore, text_of
from headrace.streams.host.config import HostConfig
from headrace.streams.known import Known
from headrace.streams.ports import Letters, bury
from headrace.streams.reward import load_rule

logger = logging.getLogger(__name__)

NAME = "credit"


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
        known: Known | None = None,
        left_open: Callable[[Sequence[Partition]], Sequence[Arrival]] = lambda _: (),
    ) -> None:
        self._groups = groups
        self._store = store
        self._credits = credits
        self._dead_letters = dead_letters
        self._decoder = Decoder(
            partial(arrivals_of, codec), stage=NAME, unknown_schema_s=unknown_schema_s
        )
        self.counters: Counter[str] = groups.counters
        self._trained = frozenset(groups.method.roles.trained)
        self._patience = Patience(NAME)
        self._storing = Patience(NAME)
        self._slow = SlowRule(groups.rule.id)
        self._known_ids = known or Known()
        self._left_open = left_open
        self._owed: list[pa.Table] = []
        self._writing = asyncio.Lock()
        self.owed_bytes = 0

    @property
    def waiting(self) -> str:
        """What the stage waits for; '' for nothing."""
        slow = self._slow.told(self._groups.asking)
        return self._patience.waiting or self._storing.waiting or slow

    async def store(self) -> None:
        """Store the rows that takes owe, as one block; takes may go on meanwhile."""
        async with self._writing:
            owed, self._owed = self._owed, []
            if owed:
                rows = pa.concat_tables(owed)
                await self._storing.auntil_done(partial(self._store.write, rows))
                self.owed_bytes -= sum(one.nbytes for one in owed)

    async def assigned(self, partitions: Sequence[Partition]) -> None:
        """Load the open groups of the partitions as stubs, and the ids of all."""
        await self._patience.auntil_done(self._note_rule)
        numbers = [partition for _, partition in partitions]
        for partition in numbers:
            self._known_ids.add(
                await self._patience.auntil_done(partial(self._store.numbers, partition))
            )
        for partition, key, close_by in await self._patience.auntil_done(
            partial(self._store.open_groups, numbers)
        ):
            self._groups.stub(partition, key, close_by)
        if self._groups.method.running_mean:
            for partition, project, running in await self._patience.auntil_done(
                partial(self._store.running_means, numbers)
            ):
                self._groups.go_on_from(partition, project, running)
        earlier = await self._patience.auntil_done(partial(self._left_open, partitions))
        if earlier:
            logger.info(
                "%d episodes are read again: their groups were open when rule or method changed",
                len(earlier),
            )
            await self._follow(earlier)
            await self.store()

    async def take(self, records: Sequence[LogRecord]) -> Sequence[DeadLetter]:
        """Credit what follows from the records; returns when Credits are durable, and `store` does
        the rest (rule: rows before the acknowledgement).

        Returns those that could not be read.
        """
        for record in records:
            self._groups.advance(record.partition, record.log_time)
        filled = [record for record in records if not record.tick]
        decoded = await self._decoder.adecode(filled, self._patience)
        await bury(self._patience, self._dead_letters, decoded.refused)
        self.counters["dead_letters"] += len(decoded.refused)
        await self._follow([arrival for _, some in decoded.taken for arrival in some])
        if self._groups.full:
            await self.store()  # (rule: eviction follows the store)
            self._known_ids.note([text_of(key) for key in self._groups.evict()])
        self.counters["groups_waiting"] = self._groups.waiting_groups
        return decoded.refused

    async def _follow(self, arrivals: Sequence[Arrival]) -> None:
        """Take episodes in, tell what follows from them and from the clock, and owe the rows."""
        if needs := self._known(self._groups.needs(arrivals)):
            for held in await self._patience.auntil_done(partial(self._store.look_up, needs)):
                self._groups.restore(held)
        # Rules are a user's code and may take their time: off the event loop.
        changes, rows = await asyncio.to_thread(self._folded, arrivals)
        if changes:
            final = [
                share
                for change in changes
                if change.credits is not None
                for share in shares_of(change.held.state, change.credits, self._trained)
            ]
            await self._patience.auntil_done(partial(self._credits.deliver, final))
            self._groups.told(changes)
            self._owed.append(rows)
            self.owed_bytes += rows.nbytes

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
        self._store.note_start()

    def _known(self, keys: Iterable[GroupKey]) -> list[GroupKey]:
        """Those of some groups that may have a row (rule: what is not held is asked for)."""
        texts = {text_of(key): key for key in keys}
        asked = [texts[text] for text in self._known_ids.among(texts)]
        self.counters["asked"] += len(asked)
        return asked

    def _folded(self, arrivals: Sequence[Arrival]) -> tuple[list[Change], pa.Table]:
        """What changed, and the rows of it as it is now: later takes change the groups."""
        self._groups.fold(arrivals)
        changes = self._groups.settle()
        return changes, self._store.rows(changes)


def make_stage(config: CreditSettings, host: HostConfig) -> CreditStage:
    """The stage on the servers that the host's configuration names.

    Raises:
        RewardError: the configured rule cannot be used.
    """
    rule = load_rule(config.rule)
    kafka = host.kafka.client(f"headrace.{NAME}")
    codec = Codec(Registry(host.registry))
    groups = Groups(rule, config.method, config.patience, config.max_held)
    store = GroupStore(ClickHouse(host.clickhouse), rule=rule.id, credit=config.method.id)
    return CreditStage(
        groups=groups,
        store=store,
        credits=CreditsWriter(kafka, codec),
        dead_letters=DeadLetters(kafka),
        codec=codec,
        unknown_schema_s=host.unknown_schema_s,
        left_open=LeftOpen(kafka, codec, store, group=host.group_id),
    )
