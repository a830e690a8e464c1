"""When an episode closes, and whether it is whole then."""

from headrace.schemas import partition_of
from tests.streams.assembling import (
    GRACE,
    IDLE,
    PARTITIONS,
    TOPIC,
    Producer,
    World,
    call,
    end,
    make_stage,
    plain,
    record,
    rows_of,
    run,
    start,
)

# When it closes


def test_without_an_end_it_closes_when_the_log_is_idle_too_long() -> None:
    world = World()
    stage = make_stage(world)
    run(stage, [record(Producer("p").seal(start()), 0, 1_000)])
    assert stage.next_deadline((TOPIC, partition_of("r", PARTITIONS))) == 1_000 + IDLE
    run(stage, [record(None, 1, 1_000 + IDLE, tick=True)])
    assert world.published() == [], "the limit is reached, not passed"
    run(stage, [record(None, 2, 1_001 + IDLE, tick=True)])
    assert [e.closed_by for e in world.published()] == ["idle"]
    assert stage.next_deadline((TOPIC, partition_of("r", PARTITIONS))) is None


def test_the_tasks_deadline_closes_it_after_a_grace() -> None:
    world = World()
    stage = make_stage(world, idle_ms=10_000)
    run(stage, [record(Producer("p").seal(start(deadline=1_200)), 0, 1_000)])
    run(stage, [record(None, 1, 1_200 + GRACE, tick=True)])
    assert world.published() == []
    run(stage, [record(None, 2, 1_201 + GRACE, tick=True)])
    assert [e.closed_by for e in world.published()] == ["deadline"]


def test_an_agents_clock_closes_nothing() -> None:
    world = World()
    ahead = plain(2, ended_at=10**18)
    run(make_stage(world), [record(Producer("p").seal(start(), ahead), 0, 1_000)])
    assert world.published() == []


def test_a_stub_is_rebuilt_before_its_deadline_closes_it() -> None:
    world, producer = World(), Producer("p")
    run(make_stage(world), [record(producer.seal(start()), 0, 1_000)])
    stage = make_stage(world)
    # The open row knows of the first record only; a second moved the deadline.
    world.insert_arrow("spans", rows_of(record(producer.seal(plain(2)), 1, 1_050)))
    run(stage, [record(None, 2, 1_120, tick=True)], assigned=True)
    assert world.published() == [], "its real deadline is 1,150"
    run(stage, [record(None, 3, 1_151, tick=True)])
    assert [(e.closed_by, e.n_spans) for e in world.published()] == [("idle", 2)]


# What is missing


def test_a_hole_in_a_producers_batches_makes_it_incomplete() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(plain(2)), producer.seal(end())]
    run(make_stage(world), [record(values[0], 0, 1), record(values[2], 1, 2)])
    (episode,) = world.published()
    assert (episode.complete, episode.missing_batches) == (False, 1)


def test_a_late_batch_fills_the_hole() -> None:
    world, producer = World(), Producer("p")
    values = [producer.seal(start()), producer.seal(plain(2)), producer.seal(end())]
    stage = make_stage(world)
    run(stage, [record(values[0], 0, 1), record(values[2], 1, 2)], [record(values[1], 2, 3)])
    assert [(e.complete, e.version) for e in world.published()] == [(False, 5), (True, 7)]


def test_producers_are_counted_apart() -> None:
    world, runner, gateway = World(), Producer("runner"), Producer("gateway")
    values = [
        runner.seal(start()),
        gateway.seal(call(2)),
        gateway.seal(call(3)),
        runner.seal(end()),
    ]
    run(make_stage(world), [record(value, i, i) for i, value in enumerate(values)])
    assert world.published()[-1].complete
