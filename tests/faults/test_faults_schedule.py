"""Faults follow from the seed, and leave nobody out."""

from collections import Counter

import pytest
from benchmarks.faults.schedule import Fault, Kind, schedule

PARTS, PRODUCERS, STAGES = ("kafka", "clickhouse", "sink"), ("one", "two"), ("assemble", "credit")


def drawn(seed: int, kills: int = 100) -> list[Fault]:
    return list(schedule(seed, kills, parts=PARTS, producers=PRODUCERS, stages=STAGES))


def test_equal_seeds_give_equal_faults_and_others_others() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_every_part_is_killed_as_often_as_any_other() -> None:
    killed = Counter(fault.part for fault in drawn(3) if fault.kind is Kind.KILL)
    assert killed == dict.fromkeys([*PARTS, *PRODUCERS], 20)


def test_every_kind_of_fault_comes_and_meets_what_it_is_for() -> None:
    met: dict[Kind, set[str]] = {}
    for fault in drawn(4, 200):
        met.setdefault(fault.kind, set()).add(fault.part)
    assert set(met) == set(Kind)
    assert met[Kind.STOP] == {*PARTS, *PRODUCERS}
    assert met[Kind.JOIN] == set(STAGES)
    assert met[Kind.CLOCK] == set(PRODUCERS)
    assert met[Kind.FULL] == {*PARTS, *PRODUCERS}
    assert met[Kind.LATE] == met[Kind.REPEAT] == {""}


def test_it_ends_with_the_last_kill() -> None:
    assert drawn(5, 7)[-1].kind is Kind.KILL
    assert sum(fault.kind is Kind.KILL for fault in drawn(5, 7)) == 7
    assert drawn(5, 0) == []


def test_nothing_to_harm_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        list(schedule(1, 1, parts=PARTS, producers=(), stages=STAGES))
