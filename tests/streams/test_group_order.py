"""Whatever order, duplicates, crashes and evictions the log and the machine throw at the stage,
every version of a group has one content and the last version is what a quiet run gives.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.connectors.kafka import (
    TICK_HEADER,
    DeadLetter,
    DeadLetters,
    KafkaConfig,
    LogRecord,
    Registry,
)
from headrace.schemas import (
    Codec,
    Credits,
    Episode,
    EpisodeBatch,
    EpisodeCall,
    EpisodeReward,
    to_avro,
)
from headrace.schemas.spans import Array
from headrace.streams.credit import Change, CreditMethod, GroupPatience, Groups, Held
from headrace.streams.credit.arrivals import TOPIC
from headrace.streams.credit.delivery import CreditsWriter
from headrace.streams.credit.stage import CreditStage
from headrace.streams.credit.state import GroupKey
from headrace.streams.credit.store import GroupStore, text_of
from headrace.streams.credit.table import held_of, rows_of
from headrace.streams.known import Known, number_of
from headrace.streams.reward import Rule, load_rule

PATIENCE = GroupPatience(grace_ms=50, max_wait_ms=500)
RULE = load_rule("reward-span:success")
METHOD = CreditMethod(call_name="discounted(0.5)")
CODEC = Codec(Registry("mock://group-order"))


class Killed(Exception):
    """The worker dies here."""


class Outside:
    """What outlives a worker: the table's newest rows, all Credits ever delivered, and fate."""

    def __init__(self, killed_at: Collection[int] = ()) -> None:
        self.rows: dict[GroupKey, dict[str, Any]] = {}
        self.delivered: list[Credits] = []
        self.letters: list[DeadLetter] = []
        self._killed_at = set(killed_at)
        self._step = 0

    def step(self) -> None:
        self._step += 1
        if self._step in self._killed_at:
            raise Killed


class Store(GroupStore):
    """The table in memory; rows go through their Arrow form and back."""

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def other_code(self, rule: Rule) -> list[str]:
        return []

    def note_code(self, rule: Rule) -> None:
        pass

    def note_start(self) -> None:
        pass

    def look_up(self, keys: Collection[GroupKey]) -> list[Held]:
        return [held_of(self._outside.rows[key]) for key in keys if key in self._outside.rows]

    def open_groups(self, partitions: Sequence[int]) -> list[tuple[int, GroupKey, int]]:
        return [
            (row["partition"], key, row["close_by"])
            for key, row in self._outside.rows.items()
            if row["state"] == "open" and row["partition"] in partitions
        ]

    def numbers(self, partition: int) -> Array:
        keys = [k for k, row in self._outside.rows.items() if row["partition"] == partition]
        return np.array([number_of(text_of(key)) for key in keys], np.uint64)

    def rows(self, changes: Sequence[Change]) -> pa.Table:
        return rows_of(changes, RULE.id, METHOD.id)

    def write(self, rows: pa.Table) -> None:
        self._outside.step()
        for row in rows.to_pylist():
            key = (row["project"], row["group_id"])
            known = self._outside.rows.get(key)
            if known is None or row["row_version"] >= known["row_version"]:
                self._outside.rows[key] = row
        self._outside.step()


class Topic(CreditsWriter):
    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def deliver(self, credits: Sequence[Credits]) -> None:
        if credits:
            self._outside.step()
            self._outside.delivered += credits
            self._outside.step()


class Letters(DeadLetters):
    def __init__(self, outside: Outside) -> None:
        super().__init__(KafkaConfig(bootstrap="nowhere:1"))
        self._outside = outside

    def send(self, letters: Sequence[DeadLetter], timeout: float | None = None) -> None:
        self._outside.letters += letters


def worker(outside: Outside, max_held: int = 1_000) -> CreditStage:
    return CreditStage(
        groups=Groups(RULE, METHOD, PATIENCE, max_held),
        store=Store(outside),
        credits=Topic(outside),
        dead_letters=Letters(outside),
        codec=CODEC,
        unknown_schema_s=0.0,
        known=Known(1 << 10),
    )


async def run(
    log: Sequence[LogRecord], outside: Outside, takes: int, max_held: int, stored_every: int
) -> None:
    """Run workers over the log until one gets to its end; each starts at the last take acked."""
    acked = 0
    while acked < len(log):
        stage = worker(outside, max_held)
        await stage.assigned([(TOPIC, 0)])
        told = acked
        try:
            while acked < len(log):
                for _ in range(stored_every):
                    await stage.take(log[told : told + takes])
                    told += takes
                await stage.store()
                acked = told
        except Killed:
            continue


def play(
    log: Sequence[LogRecord],
    killed_at: Collection[int] = (),
    takes: int = 1,
    max_held: int = 1_000,
    stored_every: int = 1,
) -> Outside:
    outside = Outside(killed_at)
    asyncio.run(run(log, outside, takes, max_held, stored_every))
    return outside


def episode(group: int, rollout: int, revision: int, *, attempt: int = 0, late: int = 0) -> Episode:
    """Revision `late` brings the reward; each adds two spans."""
    rewards = [EpisodeReward(name="success", value=float(rollout % 3))] if revision >= late else []
    return Episode(
        rollout_id=f"g{group}-r{rollout}",
        attempt=f"a{attempt}",
        group_id=f"g{group}",
        group_size=3,
        group_rollouts=[f"g{group}-r{r}" for r in range(3)],
        policy="p",
        deadline=0 if group % 2 else 300,
        version=2 * (5 + 2 * revision) + 1,
        complete=revision > 0 or rollout != 1,
        calls=[
            EpisodeCall(span_id=f"s{k}", policy="p", trainable=k != 1, version_min=k, version_max=k)
            for k in range(1 + rollout % 3 + revision)
        ],
        rewards=rewards,
    )


def cut_off(group: int, rollout: int, revision: int) -> Episode:
    """An attempt that infrastructure ended, which its first revision does not know yet."""
    plain = episode(group, rollout, revision, attempt=9)
    return replace(plain, status="error", signals={"worker_died": 1}) if revision else plain


def record(offset: int, log_time: int, episodes: Sequence[Episode]) -> LogRecord:
    value = CODEC.encode(TOPIC, to_avro(EpisodeBatch(episodes=list(episodes))))
    return LogRecord(topic=TOPIC, partition=0, offset=offset, log_time=log_time, value=value)


def log_of(batches: Sequence[Sequence[Episode]], step_ms: int = 40) -> list[LogRecord]:
    records = [record(i, 100 + i * step_ms, batch) for i, batch in enumerate(batches)]
    end = LogRecord(
        topic=TOPIC,
        partition=0,
        offset=len(records),
        log_time=10**6,
        value=None,
        headers={TICK_HEADER: b""},
    )
    return [*records, end]


# Group 2 loses its rollout 1 to infrastructure; in the others another attempt stands in.
EVERY = [
    one
    for revision in range(3)
    for one in (
        *(episode(group, r, revision, late=r) for group in range(2) for r in range(3)),
        *(episode(2, r, revision, late=r) for r in (0, 2)),
        *(cut_off(group, r, revision) for group, r in ((0, 0), (1, 1), (2, 1))),
    )
]
ORDERS = st.permutations(EVERY).flatmap(
    lambda order: st.lists(st.sampled_from(EVERY), max_size=8).map(lambda again: [*order, *again])
)
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def batches(episodes: Sequence[Episode], size: int) -> list[list[Episode]]:
    return [list(episodes[i : i + size]) for i in range(0, len(episodes), size)]


def last_credits(outside: Outside) -> dict[str, Credits]:
    last: dict[str, Credits] = {}
    for credits in outside.delivered:
        if credits.group_id not in last or credits.version > last[credits.group_id].version:
            last[credits.group_id] = credits
    return last


def untimed(last: dict[str, Credits]) -> dict[str, Credits]:
    """Without when the group began: that is the order's."""
    return {group: replace(credits, log_first=0) for group, credits in last.items()}


def assert_one_content_per_version(outside: Outside) -> None:
    contents: dict[tuple[str, int], Credits] = {}
    for credits in outside.delivered:
        assert contents.setdefault((credits.group_id, credits.version), credits) == credits


@FEW
@given(order=ORDERS, size=st.integers(1, 5))
def test_any_order_and_duplication_of_revisions_ends_in_the_same_credits(
    order: list[Episode], size: int
) -> None:
    quiet = play(log_of([EVERY]))
    stormy = play(log_of(batches(order, size)))
    assert untimed(last_credits(stormy)) == untimed(last_credits(quiet))
    versions = [c.version for c in stormy.delivered if c.group_id == "g0"]
    assert versions == sorted(set(versions))


@FEW
@given(
    order=ORDERS,
    size=st.integers(1, 5),
    killed_at=st.sets(st.integers(1, 60), max_size=8),
    takes=st.integers(1, 4),
    max_held=st.sampled_from([1, 8, 1_000]),
    stored_every=st.integers(1, 6),
)
def test_kills_evictions_and_late_stores_change_neither_rows_nor_contents(
    order: list[Episode],
    size: int,
    killed_at: set[int],
    takes: int,
    max_held: int,
    stored_every: int,
) -> None:
    log = log_of(batches(order, size))
    quiet = play(log)
    stormy = play(log, killed_at, takes, max_held, stored_every)
    assert stormy.rows == quiet.rows
    assert_one_content_per_version(stormy)
    assert last_credits(stormy) == last_credits(quiet)
    assert {c.group_id: c.version for c in last_credits(stormy).values()} == {
        group: row["version"] for (_, group), row in stormy.rows.items()
    }


@FEW
@given(first=st.permutations(range(3)), killed_at=st.sets(st.integers(1, 20), max_size=5))
def test_the_first_complete_attempt_stays_the_one_whatever_is_killed(
    first: list[int], killed_at: set[int]
) -> None:
    attempts = [[episode(0, 0, 1, attempt=a)] for a in first]
    # Attempt 0 is known first, but with a hole that is mended at the end.
    holed = episode(0, 1, 0, attempt=0)
    assert not holed.complete
    others = [[holed], [episode(0, 1, 2, attempt=1)], [episode(0, 2, 1)], [episode(0, 1, 1)]]
    outside = play(log_of([*attempts, *others], step_ms=1), killed_at)
    used = {m.rollout_id: m.attempt for m in last_credits(outside)["g0"].members
            if m.status == "used"}  # fmt: skip
    assert used == {"g0-r0": f"a{first[0]}", "g0-r1": "a1", "g0-r2": "a0"}


def test_an_evicted_group_remembers_which_attempts_infrastructure_ended() -> None:
    lost = [episode(0, 0, 1), cut_off(0, 1, 1), episode(0, 2, 1)]
    outside = play(log_of([[one] for one in [*lost, episode(0, 1, 1)]]), max_held=1)
    (credits,) = outside.delivered
    assert [m.status for m in credits.members] == ["used", "used", "infrastructure", "used"]


def test_an_evicted_open_group_is_closed_at_its_deadline() -> None:
    outside = play(log_of([[episode(0, 0, 1)], [episode(0, 2, 1)]]), max_held=1)
    assert [c.outcome for c in outside.delivered] == ["train"]
    assert outside.delivered[0].missing_rollouts == ["g0-r1"]
    assert outside.rows["default", "g0"]["state"] == "final"


def test_a_late_reward_revises_a_group_that_was_given_up_and_evicted() -> None:
    waiting = [episode(0, r, 1, late=2) for r in range(3)]
    rewarded = [episode(0, r, 2) for r in range(3)]
    tick = LogRecord(
        topic=TOPIC, partition=0, offset=1, log_time=400, value=None, headers={TICK_HEADER: b""}
    )
    log = [record(0, 100, waiting), tick, record(2, 500, rewarded)]
    outside = play(log, max_held=1)
    assert [c.outcome for c in outside.delivered] == ["reward_absent", "train"]
    assert outside.delivered[1] == play([record(0, 100, rewarded)]).delivered[0]
    assert [s.reason for s in outside.delivered[1].samples][:3] == ["", "untrainable", ""]


def test_a_revision_after_eviction_keeps_what_its_other_members_were() -> None:
    waiting = [episode(0, 0, 1), *(episode(0, r, 1, late=2) for r in (1, 2))]
    tick = LogRecord(
        topic=TOPIC, partition=0, offset=1, log_time=400, value=None, headers={TICK_HEADER: b""}
    )
    revised = episode(0, 1, 2)
    outside = play([record(0, 100, waiting), tick, record(2, 500, [revised])], max_held=1)
    assert [c.outcome for c in outside.delivered] == ["reward_absent", "train"]
    mine = [s for s in outside.delivered[1].samples if s.rollout_id == "g0-r0"]
    assert [(s.trainable, s.reason) for s in mine] == [(True, ""), (False, "untrainable")]


def test_a_new_worker_closes_what_the_old_one_left_open() -> None:
    outside = Outside()
    log = log_of([[episode(0, 0, 1), episode(0, 2, 1)]])
    asyncio.run(run(log[:1], outside, 1, 1_000, 1))
    assert outside.rows["default", "g0"]["state"] == "open"
    assert not outside.delivered

    async def restarted() -> None:
        stage = worker(outside)
        await stage.assigned([(TOPIC, 0)])
        assert stage.next_deadline((TOPIC, 0)) == 300 + PATIENCE.grace_ms
        await stage.take(log[1:])
        assert stage.next_deadline((TOPIC, 0)) is None

    asyncio.run(restarted())
    assert [c.baseline for c in outside.delivered] == ["rloo_std"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"no avro", "malformed"),
        (None, "malformed"),
        (b"\0\0\0\1\0rest", "unknown_schema"),
    ],
)
def test_a_poison_record_becomes_a_dead_letter_and_the_rest_is_credited(
    value: bytes | None, reason: str
) -> None:
    group = [episode(0, r, 2) for r in range(3)]
    poison = LogRecord(topic=TOPIC, partition=0, offset=7, log_time=5, value=value)
    outside = play([poison, *log_of([group])], takes=2)
    (letter,) = outside.letters
    assert (letter.topic, letter.offset, letter.value, letter.reason) == (TOPIC, 7, value, reason)
    assert [c.outcome for c in outside.delivered] == ["train"]
