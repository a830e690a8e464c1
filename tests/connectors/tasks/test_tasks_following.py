"""A task source reads three topics: what it does is that of the records, not of how they come."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.tasks import TaskSourceConfig, Untrained, pause_text
from headrace.connectors.tasks.following import Following
from headrace.connectors.worker.rest import FIRST_PAUSE_S
from headrace.schemas import Outcome, PolicyRecord, PolicyVersion, Task, Traffic, to_avro
from headrace.schemas.topics import Topic

GROUP, STEP, PAUSE = 2, 4, 3
Record = tuple[Topic, dict[str, Any]]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def following(clock: Clock | None = None) -> Following:
    config = TaskSourceConfig(
        kafka=KafkaAccess(bootstrap="b"),
        registry=RegistryAccess(url="http://r"),
        policy="p",
        agent="m:f",
        group_size=GROUP,
        rollouts_per_step=STEP,
        max_staleness=1,
        pause_after=PAUSE,
    )
    return Following(config, clock or Clock())


def version(number: int, policy: str = "p") -> Record:
    made = PolicyRecord(version=PolicyVersion(policy=policy, version=number))
    return Topic.POLICIES, to_avro(made)


def traffic(number: int) -> Record:
    return Topic.POLICIES, to_avro(PolicyRecord(traffic=Traffic(policy="p", version=number)))


def task(rollout: str, **facts: Any) -> Record:
    return Topic.TASKS, to_avro(Task(rollout_id=rollout, group_id="g", policy="p", **facts))


def outcome(rollout: str, reason: str = "", group: str = "g", **facts: Any) -> Record:
    made = Outcome(
        rollout_id=rollout,
        group_id=group,
        policy="p",
        trainer="main",
        outcome="dropped" if reason else "trained",
        reason=reason,
        **facts,
    )
    return Topic.OUTCOMES, to_avro(made)


def feed(source: Following, *records: Record) -> None:
    for topic, record in records:
        source.take(topic, record)


@st.composite
def logs(draw: st.DrawFn) -> list[list[Record]]:
    """Partitions of the three topics after some steps: tasks, outcomes of each sample, versions."""
    rollouts = [f"r{n}" for n in range(draw(st.integers(0, 14)))]
    tasks: list[list[Record]] = [[], [], []]
    outcomes: list[list[Record]] = [[], [], []]
    for rollout in rollouts:
        tasks[draw(st.integers(0, 2))].append(task(rollout))
        for reason in draw(st.lists(st.sampled_from(["", "off_support", "stale"]), max_size=3)):
            outcomes[draw(st.integers(0, 2))].append(outcome(rollout, reason))
    for whose in ({"trainer": "shadow"}, {"policy": "q"}):
        topic, others = outcome("r0")
        outcomes[0].append((topic, {**others, **whose}))
    versions = [version(n) for n in range(draw(st.integers(0, 4)))]
    return [[*versions, version(99, "q")], *tasks, *outcomes]


@given(logs(), st.data())
def test_after_a_restart_it_asks_for_the_same_however_the_log_is_cut_and_mixed(
    partitions: list[list[Record]], data: st.DataObject
) -> None:
    plain = following()
    feed(plain, *(record for partition in partitions for record in partition))
    plain.settle()

    mixed = following()
    left = [list(partition) for partition in partitions]
    while any(left):
        some = data.draw(st.sampled_from([part for part in left if part]))
        batch = data.draw(st.integers(1, len(some)))
        feed(mixed, *some[:batch])
        del some[:batch]
        assert mixed.groups() == 0, "the end of the log has not been seen"
    mixed.settle()
    assert mixed.groups() == plain.groups()
    assert mixed.admission.running == plain.admission.running
    assert mixed.admission.accepted == plain.admission.accepted


@given(st.permutations(range(6)), st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_while_it_runs_it_asks_for_the_same_whether_a_step_comes_at_once_or_in_pieces(
    order: Sequence[int], cuts: list[int]
) -> None:
    """One rollout has a sample that was trained and one that was not, in any order."""
    step = [
        *(outcome("r0", "off_support"), outcome("r0"), outcome("r1")),
        *(outcome("r2", "stale"), outcome("r3", "stale"), version(1)),
    ]

    def asked(batches: list[list[Record]]) -> int:
        source = following()
        feed(source, version(0), *(task(f"r{n}") for n in range(8)))
        source.settle()
        groups = 0
        for batch in batches:
            feed(source, *batch)
            for _ in range(source.groups()):
                source.asked(f"n{groups}", [f"n{groups}-{n}" for n in range(GROUP)])
                groups += 1
        source.settle()
        return groups + source.groups()

    pieces, rest = [], [step[index] for index in order]
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    assert asked([*pieces, rest]) == asked([step]) == 2


def test_a_cancelled_task_holds_the_place_that_it_had_until_its_outcome() -> None:
    source = following()
    feed(source, version(0), *(task(f"r{n}") for n in range(8)))
    feed(source, task("r0", cancelled="by hand"), task("late", cancelled="by hand"))
    source.settle()
    assert (source.admission.running, source.groups()) == (8, 0)
    feed(source, outcome("r0", "cancelled"), outcome("r1", "cancelled"))
    source.settle()
    assert source.groups() == 1


def end(source: Following, group: str, reason: str) -> None:
    """A group is asked for and ends so."""
    rollouts = [f"{group}-{n}" for n in range(GROUP)]
    source.asked(group, rollouts)
    feed(source, *(outcome(rollout, reason, group) for rollout in rollouts))
    source.settle()


def test_when_the_last_groups_all_ended_untrained_single_ones_are_tried_until_one_is_trained() -> (
    None
):
    clock = Clock()
    source = following(clock)
    feed(source, version(0))
    source.settle()
    for number in range(PAUSE - 1):
        end(source, f"g{number}", "zero_advantage")
    assert (source.groups(), source.paused) == (4, "")
    end(source, "g", "bad_row")
    assert source.groups() == 0
    assert source.paused.startswith("the last 3 groups all ended untrained (zero_advantage 2, bad")
    assert "one reward" in source.paused

    waited = []
    for number in range(3):
        before = clock.now
        while not source.groups():
            clock.now += 1
        waited.append(clock.now - before)
        assert source.groups() == 1
        end(source, f"t{number}", "zero_advantage")
        assert source.groups() == 0
    assert waited == [FIRST_PAUSE_S * 2**n for n in range(3)]

    clock.now += 1_000
    end(source, "good", "")
    assert (source.groups() > 1, source.paused) == (True, "")


def test_one_trained_group_forgets_those_before_it() -> None:
    source = following()
    feed(source, version(0))
    source.settle()
    for number, reason in enumerate(["stale", "stale", "", "stale", "stale"]):
        end(source, f"g{number}", reason)
    assert source.paused == ""


def test_what_ended_before_its_start_pauses_no_source() -> None:
    source = following()
    feed(source, version(0))
    feed(source, *(outcome(f"r{n}", "stale", f"g{n}") for n in range(20)))
    source.settle()
    assert (source.groups(), source.paused) == (4, "")


def test_a_pause_for_stale_groups_names_the_version_that_traffic_is_pinned_to() -> None:
    source = following()
    feed(source, version(10), traffic(5))
    source.settle()
    for number in range(PAUSE):
        end(source, f"g{number}", "stale")
    assert "pinned to version 5 and the newest is 10" in source.paused
    feed(source, traffic(-1))
    assert "max_staleness" in source.paused


@given(st.permutations([("a", 0), ("a", 1), ("b", 0), ("b", 1)]), st.booleans())
def test_a_group_counts_once_when_all_of_it_has_ended(
    order: Sequence[tuple[str, int]], again: bool
) -> None:
    core = Untrained(9)
    for group in "ab":
        core.asked(group, [f"{group}{n}" for n in range(2)])
    said = [
        core.outcome(group, f"{group}{n}", "stale") for group, n in order for _ in range(1 + again)
    ]
    assert said.count(False) == 2
    assert core.reasons == {"stale": 2}


@pytest.mark.parametrize(
    "reason", ["zero_advantage", "max_versions", "never_started", "unheard_of"]
)
def test_every_reason_comes_with_what_to_do(reason: str) -> None:
    text = pause_text({reason: 3, "stale": 1})
    assert text.startswith(f"the last 4 groups all ended untrained ({reason} 3, stale 1): ")
    assert len(text.partition("): ")[2]) > 20
