"""One run of a demo, with a folder and ports of its own, and what the tables say afterwards."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.learning.wanted import Wanted

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig
from headrace.infra.cli.app import NO
from headrace.infra.demo import CASES, queries
from headrace.infra.demo.evaluation import right_by_task, unended
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch import background
from headrace.infra.paired import paired

ROOT = Path(__file__).parents[2]
PORTS = ("KAFKA", "KAFKA_CONTROLLER", "REGISTRY", "CLICKHOUSE", "GATEWAY")
LEFT_OUT = {"HEADRACE_OTLP_ENABLED": "false", "HEADRACE_CONSOLE_ENABLED": "false"}
"""Parts that a demo does not need."""
SHORT = {"HEADRACE_TRAINER_GROUP_SIZE": "4", "HEADRACE_TRAINER_GROUPS_PER_STEP": "2"}
TAIL = 2_000
"""Characters of what a demo said that are told where it failed."""


class DemoFailed(RuntimeError):
    """A demo did not come to its end; says what it said last."""


def run(
    one: Wanted, directory: Path, *, versions: int, heldout: int, short: bool
) -> dict[str, Any]:
    """Run a demo and read its results; nothing runs on behind it.

    `directory` is made for it, or emptied if a demo made it. Raises DemoFailed.
    """
    ports = {f"HEADRACE_{name}_PORT": str(free_port()) for name in PORTS}
    environment = {**os.environ, **ports, **LEFT_OUT, **(SHORT if short else {})}
    environment["HEADRACE_DATA_DIRECTORY"] = str(directory)
    began = time.monotonic()
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "headrace.infra.cli", "demo", one.name),
                *("--settings", one.settings, "--seed", str(one.seed)),
                *("--versions", str(versions), "--heldout", str(heldout)),
            ],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, NO):
            raise DemoFailed(f"{one.what}, seed {one.seed}: {(done.stdout + done.stderr)[-TAIL:]}")
        seconds = time.monotonic() - began
        found = _read(one, f"http://127.0.0.1:{ports['HEADRACE_CLICKHOUSE_PORT']}", versions)
    finally:
        background.stop(directory)
    return {
        "demo": one.name,
        "settings": one.settings,
        "seed": one.seed,
        "seconds": round(seconds),
        **found,
    }


def _read(one: Wanted, url: str, last: int) -> dict[str, Any]:
    case = CASES[one.name]
    policy = case.settings(one.settings)["policy"]["name"]
    client = ClickHouse(ClickHouseConfig(url=url))
    try:
        answers = queries.ask(client, queries.EVALUATED, policy=policy)
        tables = {
            name: queries.ask(client, query, policy=policy)
            for name, query in (
                ("curve", queries.REWARD_BY_VERSION),
                ("signals", queries.SIGNALS),
                ("ledger", queries.LEDGER),
            )
        }
    finally:
        client.close()
    before, after = (right_by_task(answers, version, case.right) for version in (0, last))
    test = paired(list(before.values()), list(after.values()))
    return {
        "versions": last,
        "before": [int(right) for right in test.before],
        "after": [int(right) for right in test.after],
        "better": test.better,
        "worse": test.worse,
        "p": test.p_value,
        "interval": list(test.interval),
        "unended": [unended(answers, version) for version in (0, last)],
        **tables,
    }
