"""Waits until everything that was written has been worked through."""

import time
from collections.abc import Mapping

from benchmarks.faults.load import PROJECT
from benchmarks.faults.parts import Running

from headrace.connectors.clickhouse import ClickHouse, ClickHouseUnavailable
from headrace.connectors.kafka import (
    KafkaClientError,
    Offsets,
    Partition,
    Tailer,
    ends_of,
    partitions_of,
)
from headrace.infra.errors import InfraError
from headrace.infra.supervise import State
from headrace.schemas.topics import Topic

READ_BY: Mapping[str, Topic] = {
    "headrace.assemble": Topic.SPANS,
    "headrace.credit": Topic.EPISODES,
}
SINK = "headrace.sink"
_LOOK_S = 0.5


def settle(running: Running, client: ClickHouse, patience_s: float) -> float:
    """Seconds until producers had delivered, lags were gone and nothing was open any more.

    Raises InfraError saying what is still to be done after `patience_s`.
    """
    began = time.monotonic()
    for state in running.producers.states():
        (running.directory(state.name) / "stop").touch()
    while left := _left(running, client):
        if time.monotonic() - began > patience_s:
            raise InfraError(f"not settled after {patience_s:g} s: {left}")
        time.sleep(_LOOK_S)
    return time.monotonic() - began


def _left(running: Running, client: ClickHouse) -> str:
    """What is still to be done; '' for nothing."""
    for state in running.parts.states():
        if state.state is not State.READY:
            return f"{state.name} is {state.state}: {state.message}"
    for state in running.producers.states():
        if not (running.directory(state.name) / "finished").exists():
            return f"{state.name} has not delivered all"
    try:
        for group, topic in READ_BY.items():
            if lag := _lag(running, group, topic):
                return f"{group} is {lag} records behind on {topic}"
        if behind := _sink_lag(running):
            return f"{SINK} is {behind} records behind on {Topic.OUTCOMES}"
        for table in ("episodes", "groups"):
            if rows := _open(client, table):
                return f"{rows} rows of {table} are open"
    except (KafkaClientError, ClickHouseUnavailable) as error:
        return str(error)
    return ""


def _lag(running: Running, group: str, topic: Topic) -> int:
    kafka = running.settings.kafka_access.client("faults")
    offsets = Offsets(kafka)
    partitions = [(topic, number) for number in range(partitions_of(kafka, topic))]
    committed = offsets.committed(group, partitions)
    return sum(end - committed.get(where, 0) for where, end in offsets.ends(partitions).items())


def _sink_lag(running: Running) -> int:
    """Committed outcomes that the sink has not acknowledged: markers and what was aborted stand
    behind the last of them, where no reader of committed records ever acknowledges.
    """
    kafka = running.settings.kafka_access.client("faults")
    tailer = Tailer(kafka, [Topic.OUTCOMES], name="faults.settle")
    ends: dict[Partition, int] = {}
    try:
        while not tailer.at_end:
            ends |= ends_of(tailer.read(0.2))
    finally:
        tailer.close()
    committed = Offsets(kafka).committed(SINK, ends)
    return sum(max(0, end - committed.get(where, 0)) for where, end in ends.items())


def _open(client: ClickHouse, table: str) -> int:
    (row,) = client.query(
        f"SELECT count() AS n FROM (SELECT * FROM {table} FINAL WHERE project ="
        " {project:String}) WHERE state = 'open'",
        {"project": PROJECT},
    )
    return int(str(row["n"]))
