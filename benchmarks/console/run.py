"""Measures the console over tables of a long run, with a real browser where there is one.

`python -m benchmarks.console.run` from the repository's root fills ClickHouse's engine with about
100,000 episodes of ten spans each and starts `headrace console` over it, in a process of its own.
Pages are asked for one at a time, over one connection. Writes JSON and a table to
`benchmarks/results/`; nothing is asserted of times.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
from benchmarks.console import long, seed, serve
from benchmarks.console.figures import Figure, figures
from benchmarks.machine import about
from rich.console import Console

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.embedded.ports import free_port
from headrace.infra.terminal.live import LiveLine, bar

RESULTS = Path(__file__).parents[1] / "results"
SPANS_EACH = 10
LAST = seed.VERSIONS - 1
PAGES = {
    "overview": "/",
    "episodes": "/episodes",
    "episodes of a policy": "/episodes?policy=support",
    "rollouts": "/rollouts",
    "groups": "/groups",
    "policies": "/policies",
    "policy": "/policies/calculator",
    "version": f"/policies/calculator/{LAST}",
    "compare": f"/compare?policy=calculator&a=0&b={LAST}",
    "rewards": "/rewards?policy=support",
    "ledger": "/ledger",
    "streams": "/streams",
    "pad": "/sql",
}
"""Name -> address of what is asked for, beside an episode and a group."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measures everything; gives the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.console.run", description=__doc__)
    parser.add_argument("--episodes", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20, help="times each page is asked for")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each look at it at work")
    parser.add_argument("--name", help="stem of the files written")
    parser.add_argument("--dry", action="store_true", help="write no files")
    options = parser.parse_args(argv)
    facts, measured = about(options), list[Figure]()
    with serve.tables() as client:
        addresses = _filled(client, options.episodes)
        (facts["tables"],) = client.query(
            "SELECT (SELECT count() FROM episodes) AS episodes, count() AS spans FROM spans"
        )
        print("{episodes:,} episodes, {spans:,} spans".format(**facts["tables"]), flush=True)
        with _console(client) as (process, url):
            for figure in figures(options, client, process, url, addresses):
                print(figure, flush=True)
                measured.append(figure)
    if not options.dry:
        name = options.name or f"console-{facts['cores']}-cores-{facts['date']}"
        found = {"about": facts, "figures": [asdict(one) for one in measured]}
        RESULTS.joinpath(f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        RESULTS.joinpath(f"{name}.md").write_text(_table(facts, measured))
    return 0


def _filled(client: ClickHouse, episodes: int) -> dict[str, str]:
    """The addresses of all pages, once the tables are full."""
    with LiveLine(Console()) as line:
        seed.fill(client, episodes, lambda done: line.update(f"{bar(done / episodes)} episodes"))
        line.update("their spans")
        long.pad_spans(client, SPANS_EACH)
        extremes = {"long": long.add_long(client), "sampled": long.add_sampled(client)}
    (row,) = client.query(
        "SELECT project, rollout_id, attempt, group_id FROM episodes FINAL "
        "WHERE policy = 'support' ORDER BY log_last DESC LIMIT 1"
    )
    return {
        **PAGES,
        "group": f"/groups/{row['project']}/{row['group_id']}",
        "episode": f"/episodes/{row['project']}/{row['rollout_id']}/{row['attempt']}",
        **extremes,
    }


@contextmanager
def _console(client: ClickHouse) -> Iterator[tuple[psutil.Process, str]]:
    """`headrace console` over these tables."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="headrace-console-") as directory:
        settings = Path(directory, "headrace.toml")
        told = {"clickhouse": f'url = "{client.config.url}"', "console": f"port = {port}"}
        settings.write_text("\n".join(f"[{name}]\n{line}" for name, line in told.items()))
        command = ["-m", "headrace.infra.cli", "console", "--settings", str(settings)]
        process = subprocess.Popen(
            [sys.executable, *command], cwd=directory, stdout=subprocess.DEVNULL
        )
        try:
            _wait_for_answer(process, port)
            yield psutil.Process(process.pid), f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int) -> None:
    while True:
        line = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            line.request("GET", "/healthz")
            line.getresponse().read()
        except ConnectionError:
            if process.poll() is not None:
                raise SystemExit("headrace console ended; what it said stands above") from None
            time.sleep(0.1)
        else:
            return
        finally:
            line.close()


def _table(facts: Mapping[str, Any], measured: Sequence[Figure]) -> str:
    lines = [
        "# The console over a long run",
        "",
        f"`python -m benchmarks.console.run`, {facts['date']}; {facts['cores']} cores "
        f"{facts['processor']} ({', '.join(facts['flags'])}), load before "
        f"{facts['load_before']}; {facts['tables']['episodes']:,} episodes, "
        f"{facts['tables']['spans']:,} spans.",
        "",
        "| | measured | goal |",
        "|---|---|---|",
        *(f"| {one.name} | {one.value:,.1f} {one.unit} | {one.goal} |" for one in measured),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
