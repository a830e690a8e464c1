"""Which partitions go on: halted ones do not, lost records are noticed, restarts change nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.kafka import (
    HALTED,
    LOG_LOST,
    POISON,
    RESUMED,
    DeadLetter,
    Guard,
    Patience,
    PoisonCount,
    PoisonSettings,
    Resuming,
    accepts,
)
from headrace.connectors.kafka.resuming import ASK_S
from headrace.schemas import Halt

ZERO, ONE = ("t", 0), ("t", 1)
GROUP = "headrace.test"


class Kafka:
    """Offsets and halts of a cluster in memory."""

    def __init__(self) -> None:
        self.log_starts: dict[tuple[str, int], int] = {}
        self.positions: dict[tuple[str, int], int] = {}
        self.written: dict[tuple[str, tuple[str, int]], Halt] = {}
        self.letters: list[DeadLetter] = []

    def starts(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {where: self.log_starts.get(where, 0) for where in partitions}

    def committed(
        self, group: str, partitions: Iterable[tuple[str, int]]
    ) -> dict[tuple[str, int], int]:
        assert group == GROUP
        return {where: self.positions[where] for where in partitions if where in self.positions}

    def read(self) -> Mapping[tuple[str, tuple[str, int]], Halt]:
        return self.written

    def write(self, halt: Halt) -> None:
        self.written[halt.group, (halt.topic, halt.partition)] = halt

    def close(self) -> None:
        pass

    def refused(self, where: tuple[str, int], stage: str, since: int) -> dict[int, int]:
        assert stage == "test"
        return {
            one.offset: one.log_time
            for one in self.letters
            if (one.topic, one.partition) == where and one.log_time >= since
        }

    def resume(self, where: tuple[str, int], *, end: int | None = None) -> None:
        halt = self.written[GROUP, where]
        self.write(replace(halt, state=RESUMED, end=halt.end if end is None else end))

    def guard(self, records: int = 2) -> Guard:
        limit = PoisonSettings(poison_limit=records, poison_window_ms=1_000)
        return Guard(stage="test", group=GROUP, offsets=self, halts=self, letters=self, limit=limit)


def letter(offset: int, where: tuple[str, int] = ZERO, log_time: int = 10) -> DeadLetter:
    return DeadLetter(
        topic=where[0],
        partition=where[1],
        offset=offset,
        value=b"",
        reason="malformed",
        message="no header",
        log_time=log_time,
    )


def poisoned(kafka: Kafka) -> Guard:
    """A guard of two partitions, one of which took five records of which three were refused."""
    guard = kafka.guard()
    guard.assigned([ZERO, ONE])
    guard.taken({ZERO: 5})
    kafka.letters += [letter(1), letter(2), letter(4)]
    guard.refused(kafka.letters)
    return guard


def test_a_partition_past_the_limit_is_halted_where_it_stands_and_the_others_go_on() -> None:
    kafka = Kafka()
    guard = poisoned(kafka)
    halt = kafka.written[GROUP, ZERO]
    assert (halt.offset, halt.end, halt.reason, halt.state) == (5, 5, POISON, HALTED)
    assert "offset 4" in halt.message
    assert "no header" in halt.message
    assert not guard.admits(ZERO, 5)
    assert guard.admits(ZERO, 4), "read again after a crash: it was taken before"
    assert guard.admits(ONE, 5)
    assert [told["partition"] for told in guard.report()] == [0]


def test_a_halt_outlives_the_worker_until_it_is_resumed() -> None:
    kafka = Kafka()
    poisoned(kafka)
    kafka.positions = {ZERO: 5}
    after = kafka.guard()
    assert after.assigned([ZERO, ONE]) == {ONE: 0}
    assert not after.admits(ZERO, 5)
    assert after.resumed() == []
    kafka.resume(ZERO)
    assert after.resumed() == [ZERO]
    assert not after.admits(ZERO, 5), "the records it dropped are read by the next life"
    assert kafka.guard().assigned([ZERO]) == {ZERO: 5}


def refuse(kafka: Kafka, guard: Guard, *letters: DeadLetter) -> None:
    """What a host does with a take that refused some records."""
    kafka.letters += letters
    guard.taken({(one.topic, one.partition): one.offset + 1 for one in letters})
    guard.refused(letters)


def test_the_count_goes_on_where_a_killed_worker_left_it() -> None:
    kafka = Kafka()
    for offset in range(3):
        guard = kafka.guard()
        guard.assigned([ZERO, ONE])
        assert not guard.halted
        refuse(kafka, guard, letter(offset))
    assert set(guard.halted) == {ZERO}
    assert kafka.written[GROUP, ZERO].offset == 3


def test_a_record_that_is_refused_again_after_a_kill_counts_once() -> None:
    kafka = Kafka()
    for _ in range(5):
        guard = kafka.guard()
        guard.assigned([ZERO])
        refuse(kafka, guard, letter(1), letter(2))
    assert not guard.halted


def test_of_earlier_lives_only_what_the_window_holds_is_counted() -> None:
    kafka = Kafka()
    kafka.letters = [letter(0, log_time=10), letter(1, log_time=11), letter(2, ONE, log_time=900)]
    guard = kafka.guard()
    guard.assigned([ZERO, ONE])
    refuse(kafka, guard, letter(2, log_time=1_012))
    assert not guard.halted
    refuse(kafka, guard, letter(3, log_time=1_013), letter(4, log_time=1_014))
    assert set(guard.halted) == {ZERO}


def test_what_another_group_refused_further_on_is_not_counted_yet() -> None:
    kafka = Kafka()
    kafka.letters = [letter(offset) for offset in range(7, 20)]
    guard = kafka.guard()
    guard.assigned([ZERO])
    refuse(kafka, guard, letter(6))
    assert not guard.halted


def test_what_was_refused_before_a_resumed_halt_is_forgiven() -> None:
    kafka = Kafka()
    poisoned(kafka)
    kafka.resume(ZERO)
    guard = kafka.guard()
    guard.assigned([ZERO])
    refuse(kafka, guard, letter(4))  # killed before the halted take was acknowledged
    refuse(kafka, guard, letter(5), letter(6))
    assert not guard.halted
    refuse(kafka, guard, letter(7))
    assert set(guard.halted) == {ZERO}


def test_a_reader_that_needs_less_than_was_committed_misses_only_what_was_not() -> None:
    kafka = Kafka()
    kafka.positions = {ZERO: 10}
    kafka.log_starts = {ZERO: 8, ONE: 8}
    guard = kafka.guard()
    assert guard.assigned([ZERO, ONE], {ZERO: 5, ONE: 8}) == {ZERO: 8, ONE: 8}
    assert not guard.halted
    assert kafka.guard().assigned([ONE], {ONE: 7}) == {}, "needed, and never committed"


def test_a_halt_for_lost_records_grows_with_the_loss() -> None:
    kafka = Kafka()
    kafka.positions, kafka.log_starts = {ZERO: 10}, {ZERO: 15}
    kafka.guard().assigned([ZERO])
    kafka.log_starts = {ZERO: 20}
    assert kafka.guard().assigned([ZERO]) == {}
    halt = kafka.written[GROUP, ZERO]
    assert (halt.offset, halt.end) == (10, 20)


def test_another_groups_halt_is_none_of_ours() -> None:
    kafka = Kafka()
    kafka.write(Halt(group="headrace.other", topic="t", partition=0, reason=POISON))
    guard = kafka.guard()
    guard.assigned([ZERO])
    assert guard.admits(ZERO, 0)


def test_what_the_log_lost_while_the_worker_was_away_halts_until_the_loss_is_accepted() -> None:
    kafka = Kafka()
    kafka.positions, kafka.log_starts = {ZERO: 10, ONE: 10}, {ZERO: 15, ONE: 10}
    guard = kafka.guard()
    assert guard.assigned([ZERO, ONE]) == {ONE: 10}
    halt = kafka.written[GROUP, ZERO]
    assert (halt.offset, halt.end, halt.reason) == (10, 15, LOG_LOST)
    assert not guard.admits(ZERO, 15)
    kafka.resume(ZERO, end=17)
    kafka.log_starts[ZERO] = 17
    assert kafka.guard().assigned([ZERO]) == {ZERO: 17}
    kafka.log_starts[ZERO] = 20
    assert kafka.guard().assigned([ZERO]) == {}, "more was lost than was accepted"


def test_a_group_that_never_committed_begins_where_the_log_begins() -> None:
    kafka = Kafka()
    kafka.log_starts = {ZERO: 15}
    assert kafka.guard().assigned([ZERO]) == {ZERO: 15}
    assert kafka.written == {}


def test_offsets_left_out_are_a_loss_only_where_the_log_begins_behind_them() -> None:
    kafka = Kafka()
    guard = kafka.guard()
    guard.assigned([ZERO, ONE])
    guard.taken({ZERO: 10, ONE: 10})
    assert guard.jumps([(ZERO, 10), (ONE, 10), (ZERO, 11)]) == {}
    jumps = guard.jumps([(ZERO, 10), (ZERO, 14), (ONE, 12)])
    assert jumps == {ZERO: 11, ONE: 10}
    kafka.log_starts = {ZERO: 14}  # one's offsets 10 and 11 are markers of a transaction
    guard.check(jumps)
    assert set(guard.halted) == {ZERO}
    assert (guard.halted[ZERO].offset, guard.halted[ZERO].end) == (11, 14)
    assert guard.admits(ZERO, 10)
    assert not guard.admits(ZERO, 14)


def test_records_read_again_after_a_crash_are_no_jump() -> None:
    guard = Kafka().guard()
    guard.assigned([ZERO])
    guard.taken({ZERO: 10})
    assert guard.jumps([(ZERO, 3), (ZERO, 4)]) == {}


def test_only_a_resumed_loss_of_the_whole_range_is_accepted() -> None:
    lost = Halt(reason=LOG_LOST, offset=10, end=15, state=RESUMED)
    assert accepts(lost, 10, 15)
    assert accepts(lost, 12, 15), "part of it was read after all"
    assert not accepts(lost, 9, 15)
    assert not accepts(lost, 10, 16)
    assert not accepts(replace(lost, state=HALTED), 10, 15)
    assert not accepts(replace(lost, reason=POISON), 10, 15)
    assert not accepts(None, 10, 15)


@given(
    times=st.lists(st.integers(0, 10_000), max_size=60).map(sorted),
    records=st.integers(1, 5),
    window_ms=st.integers(1, 5_000),
)
def test_the_limit_is_passed_exactly_when_a_window_holds_more(
    times: list[int], records: int, window_ms: int
) -> None:
    count = PoisonCount(PoisonSettings(poison_limit=records, poison_window_ms=window_ms))
    for number, now in enumerate(times):
        within = [at for at in times[: number + 1] if now - at <= window_ms]
        assert count.refused(ZERO, number, now) == (len(within) > records)


def test_without_a_limit_nothing_is_ever_past_it() -> None:
    count = PoisonCount(PoisonSettings(poison_limit=0))
    assert not any(count.refused(ZERO, at, 1) for at in range(1_000))


@pytest.mark.parametrize("settings", [{"poison_limit": -1}, {"poison_window_ms": 0}])
def test_a_limit_that_cannot_work_names_its_setting(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        PoisonSettings(**settings)


def test_whether_a_halted_partition_may_go_on_is_asked_now_and_then() -> None:
    kafka, now = Kafka(), [0.0]
    guard = kafka.guard()
    resuming = Resuming(guard, Patience(), clock=lambda: now[0])
    guard.assigned([ZERO, ONE])
    asked: list[float] = []
    reads = kafka.read

    def read() -> Mapping[tuple[str, tuple[str, int]], Halt]:
        asked.append(now[0])
        return reads()

    kafka.read = read  # type: ignore[method-assign]
    assert resuming.take_up() == {}
    assert not asked, "nothing is halted"
    guard.halt(ZERO, POISON, "too many")
    assert resuming.take_up() == {}
    kafka.resume(ZERO)
    assert resuming.take_up() == {}, "it has just asked"
    now[0] = ASK_S
    assert resuming.take_up() == {ZERO: 0}
    assert not guard.halted
    now[0] = 10 * ASK_S
    assert resuming.take_up() == {}
    assert set(asked) == {0.0, ASK_S}
