"""Measures what a replay takes: episodes a second, and of one core.

`python -m benchmarks.replay.run` from the repository's root starts a broker, a registry and
ClickHouse's engine on free ports, writes episodes to `headrace.episodes` and replays them twice:
into an empty table, and again. Writes JSON to `benchmarks/results/`. Exit code 1: an episode was
not replayed. Nothing is asserted of times.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import about

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer, partitions_of
from headrace.infra.embedded import Stack, running_stack
from headrace.schemas import (
    Codec,
    Episode,
    EpisodeBatch,
    EpisodeCall,
    EpisodeReward,
    EpisodeTool,
    partition_of,
    to_avro,
)
from headrace.schemas.topics import Topic
from headrace.streams.credit.config import CreditSettings
from headrace.streams.replay import replay
from headrace.streams.reward import load_rule

RESULTS = Path(__file__).parents[1] / "results"
GROUP_SIZE = 8
A_RECORD = 32
RULE = "reward-span:success"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement; gives the exit code."""
    options = _options(argv)
    load = round(os.getloadavg()[0], 1)  # of whoever else uses the machine, before it begins
    with (
        tempfile.TemporaryDirectory(prefix="headrace-replay-") as scratch,
        running_stack(Path(scratch)) as stack,
    ):
        size = _write(stack, options.episodes)
        phases = [_phase(stack, name) for name in ("into an empty table", "again")]
    for phase in phases:
        sys.stdout.write(json.dumps(phase) + "\n")
    if not options.dry:
        facts = about(options) | {"load_before": load, "bytes_per_episode": size}
        file = RESULTS / f"replay-{facts['cores']}-cores-{facts['date']}.json"
        file.write_text(json.dumps({"about": facts, "phases": phases}, indent=1) + "\n")
    return int(any(phase["episodes"] != options.episodes for phase in phases))


def _phase(stack: Stack, name: str) -> dict[str, Any]:
    clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database="replay"))
    registry = Registry(stack.registry_url)
    migrate.apply(clickhouse)
    cpu = time.process_time()
    done = replay(
        KafkaConfig(bootstrap=stack.bootstrap),
        clickhouse,
        Codec(registry),
        rule=load_rule(RULE),
        settings=CreditSettings(rule=RULE),
    )
    cpu = time.process_time() - cpu
    clickhouse.close()
    registry.close()
    return {
        "name": name,
        "episodes": done.episodes,
        "groups_written": done.groups,
        "seconds": round(done.seconds, 3),
        "episodes_per_s": round(done.rate),
        "cpu_us_per_episode": round(cpu / done.episodes * 1e6, 1),
        "episodes_per_core_s": round(done.episodes / cpu),
    }


def _write(stack: Stack, episodes: int) -> int:
    """Write the load; how many bytes an episode has."""
    config = KafkaConfig(bootstrap=stack.bootstrap)
    registry = Registry(stack.registry_url)
    codec = Codec(registry)
    writer = Writer(config)
    partitions = partitions_of(config, Topic.EPISODES)
    size = 0
    try:
        for batch, partition in _batches(episodes, partitions):
            value = codec.encode(Topic.EPISODES, to_avro(EpisodeBatch(episodes=batch)))
            size += len(value)
            writer.send([Outgoing(topic=Topic.EPISODES, partition=partition, value=value)])
    finally:
        writer.close()
        registry.close()
    return size // episodes


def _batches(episodes: int, partitions: int) -> Iterator[tuple[list[Episode], int]]:
    """Episodes by the record, each with its partition."""
    waiting: dict[int, list[Episode]] = {}
    for number in range(episodes):
        one = _episode(number)
        partition = partition_of(one.group_id, partitions)
        waiting.setdefault(partition, []).append(one)
        if len(waiting[partition]) == A_RECORD:
            yield waiting.pop(partition), partition
    for partition, batch in waiting.items():
        yield batch, partition


def _episode(number: int) -> Episode:
    """Four calls, three tools, start, end and a reward: ten spans and some 6 kB of texts."""
    # Four groups are under way at a time, as in a stream.
    block, within = divmod(number, 4 * GROUP_SIZE)
    group, place = f"g{4 * block + within % 4:07}", within // 4
    return Episode(
        rollout_id=f"{group}-r{place}",
        attempt="01JDQ0000000000000000000AA",
        group_id=group,
        group_size=GROUP_SIZE,
        group_rollouts=[f"{group}-r{each}" for each in range(GROUP_SIZE)],
        policy="p",
        version=21,
        n_spans=10,
        status="ok",
        task_input="What is the sum of these numbers? " * 6,
        expected="4",
        result="4",
        calls=[
            EpisodeCall(
                span_id=f"{call:016x}", policy="p", agent="solver", model="m", trainable=True,
                completion_tokens=50, prompt_tokens=300, version_min=1, version_max=1,
                input="i" * 1_000, output="o" * 200, status="ok",
            )
            for call in range(4)
        ],
        tools=[
            EpisodeTool(
                span_id=f"{8 + tool:016x}", name="search", status="ok", input="a" * 100,
                output="b" * 300,
            )
            for tool in range(3)
        ],
        rewards=[EpisodeReward(name="success", value=float(number * 7 % 5))],
    )  # fmt: skip


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=64_000, help="how many (%(default)s)")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
