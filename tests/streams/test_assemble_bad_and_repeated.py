"""What cannot be read, lies in the wrong place, comes twice or comes late."""

import pytest

from headrace.schemas import partition_of
from tests.streams.assembling import (
    PARTITIONS,
    TOPIC,
    CrashedError,
    Producer,
    World,
    call,
    end,
    make_stage,
    plain,
    record,
    reward,
    run,
    start,
)

# Bad input


def test_what_cannot_be_read_is_set_aside_untouched_and_the_worker_goes_on() -> None:
    world = World()
    good = Producer("p").seal(start(), end())
    bad = [b"", b"\x01garbage", good[:-3], b"\x00\x00\x00\x03\xe7" + good[5:]]
    stage = make_stage(world)
    run(stage, [*(record(v, i, i) for i, v in enumerate(bad)), record(good, 9, 9)])
    assert [letter.value for letter in world.letters] == bad
    assert [letter.reason for letter in world.letters] == [*["malformed"] * 3, "unknown_schema"]
    assert [letter.offset for letter in world.letters] == [0, 1, 2, 3]
    assert len(world.published()) == 1
    assert stage.counters["dead_letters"] == 4


def test_a_misplaced_record_is_sent_on_and_counts_where_it_belongs() -> None:
    world = World()
    home = partition_of("r", PARTITIONS)
    stage = make_stage(world)
    run(stage, [record(Producer("p").seal(start(), end()), 0, 1, partition=1 - home)])
    (forward,) = world.sent
    assert (forward.topic, forward.partition) == (TOPIC, home)
    assert (world.spans, stage.counters["forwarded"]) == ({}, 1)
    run(stage, [record(forward.value, 0, 2, partition=home, forwarded=True)])
    (episode,) = world.published()
    assert episode.n_spans == 2


def test_a_record_with_episodes_of_two_partitions_is_split_without_end() -> None:
    world = World()
    home = partition_of("r", PARTITIONS)
    other = next(f"s{i}" for i in range(99) if partition_of(f"s{i}", PARTITIONS) != home)
    value = Producer("p").seal(start(), end(), plain(5, "attempt.end", rollout=other))
    stage = make_stage(world)
    run(stage, [record(value, 0, 1)])
    (forward,) = [r for r in world.sent if r.topic == TOPIC]
    assert forward.partition is not None
    run(stage, [record(forward.value, 0, 2, partition=forward.partition, forwarded=True)])
    assert sorted((e.rollout_id, e.n_spans) for e in world.published()) == [("r", 2), (other, 1)]
    assert len([r for r in world.sent if r.topic == TOPIC]) == 1


def test_what_says_it_was_sent_on_and_belongs_nowhere_here_is_a_dead_letter() -> None:
    world = World()
    value = Producer("p").seal(start(), end())
    elsewhere = 1 - partition_of("r", PARTITIONS)
    stage = make_stage(world)
    run(stage, [record(value, 0, 1, partition=elsewhere, forwarded=True)])
    assert [letter.value for letter in world.letters] == [value]
    assert (world.spans, world.sent) == ({}, [])


# The literal traps of the contract


def test_r1_a_rebuilt_episode_is_published_though_the_fold_adds_nothing() -> None:
    world, producer = World(), Producer("p")
    first, last = record(producer.seal(start()), 0, 1), record(producer.seal(end()), 1, 2)
    run(make_stage(world), [first])
    world.fuse, world.torn = 1, True  # dies right after the take's spans are in the table
    with pytest.raises(CrashedError):
        run(make_stage(world), [last], assigned=True)
    world.fuse = -1
    run(make_stage(world), [last], assigned=True)
    assert [e.n_spans for e in world.published()] == [2]


def test_r2_a_resent_opening_batch_does_not_restart_a_forgotten_episode() -> None:
    world, producer = World(), Producer("p")
    opening = producer.seal(start())
    rest = [record(producer.seal(plain(i)), i, i) for i in range(2, 6)]
    run(make_stage(world), [record(opening, 1, 1), *rest, record(producer.seal(end()), 7, 7)])
    stage = make_stage(world)  # which has never seen the episode
    takes = [record(opening, 8, 8)], [record(producer.seal(reward(50)), 9, 9)]
    run(stage, *takes, assigned=True)
    assert world.published()[-1].version == 15, "the late reward makes seven spans, closed"
    (row,) = world.episodes.values()
    assert (row["version"], row["rewards"]) == (15, 1)


def test_the_batch_that_opens_an_episode_need_not_be_the_first_in_the_log() -> None:
    world, runner, gateway = World(), Producer("runner"), Producer("gateway")
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(gateway.seal(call(2)), 0, 1)])
    run(stage, [record(runner.seal(start()), 1, 2)])
    run(stage, [record(runner.seal(end()), 2, 3)])
    assert [(e.n_spans, e.complete) for e in world.published()] == [(3, True)]


def test_r3_a_resent_batch_changes_no_bounds_after_a_rebuild() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(end())]
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(values[0], 0, 10), record(values[1], 1, 20)])
    run(stage, [record(values[0], 2, 70), record(values[1], 3, 80)])
    assert {(e.version, e.log_first, e.log_last) for e in world.published()} == {(5, 10, 20)}


def test_a_late_reward_after_eviction_makes_a_whole_revision() -> None:
    world, producer = World(), Producer("p")
    stage = make_stage(world, memory_bytes=1)
    run(stage, [record(producer.seal(start(), call(2), end()), 0, 10)])
    run(stage, [record(producer.seal(reward(60)), 1, 10_000_000)])
    assert [(e.version, len(e.rewards), len(e.calls)) for e in world.published()] == [
        (7, 0, 1),
        (9, 1, 1),
    ]
