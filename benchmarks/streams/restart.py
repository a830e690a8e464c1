"""How long a worker takes to its first record where the tables know very many episodes.

`python -m benchmarks.streams.restart` from the repository's root starts ClickHouse on a free
port, fills the table `episodes`, and lets a new assembler load what it needs of all partitions.
Writes JSON to `benchmarks/results/`. Nothing is asserted of times.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from benchmarks.machine import about

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka.registry import Registry
from headrace.infra.embedded import running_stack
from headrace.schemas import Codec
from headrace.schemas.topics import Topic
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.assemble.stage import AssembleStage
from headrace.streams.known import Known

RESULTS = Path(__file__).parents[1] / "results"
PARTITIONS = 8
_A_BLOCK = 100_000
_FILL = """INSERT INTO episodes (project, rollout_id, attempt, version, state, partition, close_by)
SELECT 'restart', concat('01K', lower(hex(sipHash128(number)))), hex(sipHash64(number)), 21,
 if(number % {open:UInt32} = 0, 'open', 'closed'), number % {partitions:UInt32}, 1
FROM numbers({begin:UInt64}, {count:UInt64})"""


class _Counting(Known):
    """Counts the ids that it gets."""

    added = 0

    def add(self, numbers: Any) -> None:
        """Add ids by their numbers."""
        self.added += len(numbers)
        super().add(numbers)


class _Nowhere:
    """Takes records and forgets them."""

    def send(self, records: Sequence[Any]) -> None:
        """Nothing is sent."""


def main(argv: Sequence[str] | None = None) -> int:
    """Fills, loads and tells; gives the exit code."""
    options = _options(argv)
    facts = about(options)
    with (
        tempfile.TemporaryDirectory(prefix="headrace-restart-") as scratch,
        running_stack(Path(scratch), names=("clickhouse",)) as stack,
    ):
        tables = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database="restart"))
        migrate.apply(tables)
        for begin in range(0, options.episodes, _A_BLOCK):
            count = min(_A_BLOCK, options.episodes - begin)
            given = {"begin": begin, "count": count, "partitions": PARTITIONS}
            tables.command(_FILL, {**given, "open": options.one_open_in})
        runs = [_load(tables) for _ in range(options.runs)]
        known = int(str(tables.command("SELECT count() FROM episodes FINAL")))
        tables.close()
    found = {"episodes": known, "loads": runs}
    sys.stdout.write(json.dumps(found) + "\n")
    if not options.dry:
        file = RESULTS / f"restart-{facts['cores']}-cores-{facts['date']}.json"
        file.write_text(json.dumps({"about": facts, **found}, indent=1) + "\n")
    return int(known != options.episodes)


def _load(tables: ClickHouse) -> dict[str, float]:
    registry = Registry("mock://restart")
    nowhere: Any = _Nowhere()
    known = _Counting()
    me, before = psutil.Process(), psutil.Process().memory_info().rss
    begun, cpu = time.monotonic(), time.process_time()
    stage = AssembleStage(
        AssembleConfig(),
        codec=Codec(registry),
        tables=tables,
        log=nowhere,
        dead_letters=nowhere,
        span_partitions=PARTITIONS,
        episode_partitions=PARTITIONS,
        known=known,
    )
    places = [(Topic.SPANS, partition) for partition in range(PARTITIONS)]
    asyncio.run(stage.assigned(places))
    return {
        "known": known.added,
        "seconds": round(time.monotonic() - begun, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "grown_megabytes": round((me.memory_info().rss - before) / 1e6, 1),
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.streams.restart", description=__doc__)
    parser.add_argument("--episodes", type=int, default=1_000_000)
    parser.add_argument("--one-open-in", type=int, default=1_000, help="episodes of which one is")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
