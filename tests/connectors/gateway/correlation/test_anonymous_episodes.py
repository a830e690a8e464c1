"""Episodes of calls that say of none: they close when nothing more comes, by the log's time."""

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from headrace.schemas import partition_of
from tests.streams.assembling import (
    IDLE,
    PARTITIONS,
    Producer,
    World,
    make_stage,
    record,
    run,
)

if TYPE_CHECKING:
    from headrace.schemas import Span
    from tests.connectors.gateway.conftest import Harness

HOUR_NS = 3_600 * 10**9


def conversation(gateway: "Harness", turns: int) -> "list[Span]":
    """The spans of a conversation whose client says nothing of its place."""
    said = [{"role": "user", "content": "hi"}]
    for _ in range(turns):
        answer = gateway.chat(messages=said).json()["choices"][0]["message"]
        said += [answer, {"role": "user", "content": "and?"}]
    return gateway.telemetry.spans


def test_a_conversation_that_nobody_goes_on_with_is_a_closed_episode(gateway: "Harness") -> None:
    first, second = conversation(gateway, 2)
    assert json.loads(second.attributes)["headrace.conversation"] == "extended"
    rollout, world, producer = first.rollout_id, World(), Producer("gateway")
    partition = partition_of(rollout, PARTITIONS)
    stage = make_stage(world)
    run(stage, [record(producer.seal(first), 0, 1_000, rollout)])
    run(stage, [record(producer.seal(second), 1, 1_000 + IDLE, rollout)])
    run(stage, [record(None, 2, 1_000 + 2 * IDLE, partition=partition, tick=True)])
    assert world.published() == [], "it was gone on with in time"
    run(stage, [record(None, 3, 1_001 + 2 * IDLE, partition=partition, tick=True)])
    (episode,) = world.published()
    assert (episode.rollout_id, episode.closed_by) == (rollout, "idle")
    assert (len(episode.calls), episode.complete) == (2, True)
    assert episode.signals == {"no_start": 1}
    assert [row["state"] for row in world.episodes.values()] == ["closed"]


@pytest.mark.parametrize("skew", [-HOUR_NS, HOUR_NS])
def test_a_gateway_s_clock_that_is_an_hour_off_closes_nothing_and_loses_nothing(
    gateway: "Harness", skew: int
) -> None:
    """Spans say when they were by the gateway's clock; when they count is the log's to say."""
    told = [
        replace(span, started_at=span.started_at + skew, ended_at=span.ended_at + skew)
        for span in conversation(gateway, 2)
    ]
    rollout, world, producer = told[0].rollout_id, World(), Producer("gateway")
    partition = partition_of(rollout, PARTITIONS)
    stage = make_stage(world)
    for at, span in enumerate(told):
        run(stage, [record(producer.seal(span), at, 1_000 + at, rollout)])
    assert world.published() == []
    run(stage, [record(None, 2, 1_002 + IDLE, partition=partition, tick=True)])
    (episode,) = world.published()
    assert (episode.closed_by, episode.signals) == ("idle", {"no_start": 1})
    assert [call.started_at for call in episode.calls] == [span.started_at for span in told]
    assert {row["started_at"] for row in world.spans.values()} == {one.started_at for one in told}
