"""Measures an export of transitions: rows a second, and the memory of the process that writes.

`python -m benchmarks.transitions.run` from the repository's root starts ClickHouse's engine on a
free port, fills it with one episode of very many calls and with many short ones, and exports each.
Writes JSON to `benchmarks/results/`. Exit code 1: a row was left out. Nothing is asserted of times.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.machine import about

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.infra.embedded import Stack, running_stack

RESULTS = Path(__file__).parents[1] / "results"
_SPANS = (
    "INSERT INTO spans (project, rollout_id, attempt, span_id, kind, agent, started_at, ended_at,"
    " input, output) SELECT {project:String}, concat('r', leftPad(toString(intDiv(number,"
    " {each:UInt64})), 8, '0')), 'a', leftPad(toString(number), 16, '0'),"
    " if(number % 3 = 2, 'tool', 'call'), 'solver', number * 10, number * 10 + 5,"
    " substring(repeat(hex(sipHash128(number)), 1 + intDiv({bytes:UInt64}, 32)), 1,"
    " {bytes:UInt64}), 'done' FROM numbers({rows:UInt64})"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the measurement; gives the exit code."""
    options = _options(argv)
    load = round(os.getloadavg()[0], 1)  # of whoever else uses the machine, before it begins
    with (
        tempfile.TemporaryDirectory(prefix="headrace-transitions-") as scratch,
        running_stack(Path(scratch), names=("clickhouse",)) as stack,
    ):
        phases = [
            _phase(stack, Path(scratch), "one long episode", options.long, options.long, 40_000),
            _phase(stack, Path(scratch), "short episodes", 10 * options.episodes, 10, 400),
        ]
    for phase in phases:
        sys.stdout.write(json.dumps(phase) + "\n")
    if not options.dry:
        facts = about(options) | {"load_before": load}
        file = RESULTS / f"transitions-{facts['cores']}-cores-{facts['date']}.json"
        file.write_text(json.dumps({"about": facts, "phases": phases}, indent=1) + "\n")
    return int(any(phase["rows"] != phase["written"] for phase in phases))


def _phase(
    stack: Stack, scratch: Path, name: str, rows: int, each: int, text: int
) -> dict[str, Any]:
    project = name.replace(" ", "-")
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url))
    migrate.apply(client)
    client.command(_SPANS, {"project": project, "each": each, "bytes": text, "rows": rows})
    episodes = rows // each
    client.insert_arrow(
        "episodes",
        pa.Table.from_pylist(
            [
                {
                    "project": project, "rollout_id": f"r{number:08}", "attempt": "a",
                    "version": 9, "state": "closed", "calls": each, "log_last": 1_000,
                }
                for number in range(episodes)
            ]
        ),
    )  # fmt: skip
    client.close()
    file = scratch / f"{project}.parquet"
    command = [
        sys.executable, "-m", "headrace.infra.cli", "export", "transitions",
        "--parquet", str(file), "--project", project,
    ]  # fmt: skip
    began = time.perf_counter()
    child = subprocess.Popen(
        command, env={**os.environ, "HEADRACE_CLICKHOUSE_URL": stack.clickhouse_url}
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    return {
        "name": name,
        "episodes": episodes,
        "rows": rows,
        "text_megabytes": round(rows * text / 1e6),
        "written": pq.read_metadata(file).num_rows if child.returncode == 0 else 0,
        "seconds": round(seconds, 2),
        "rows_per_s": round(rows / seconds),
        "cpu_us_per_row": round((used.ru_utime + used.ru_stime) / rows * 1e6, 1),
        "peak_megabytes": round(used.ru_maxrss / 1e3),
    }


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", type=int, default=10_000, help="calls and tools (%(default)s)")
    parser.add_argument("--episodes", type=int, default=20_000, help="short ones (%(default)s)")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
