"""Harms a running headrace in every way it should survive, then asks whether anything is lost.

`python -m benchmarks.faults.run --seed 1 --kills 200` from the repository's root (`make faults`)
starts the parts of `headrace up` on free ports with a tiny model in the trainer, lets producers
loose on them, and kills, stops and starves parts as a schedule says that follows from the seed.
Then everything settles, `headrace audit` compares log and tables, and the producers' own ledgers
are compared with both. Each deed is a line of `faults.jsonl` in the run's folder. Writes JSON to
`benchmarks/results/`; exit code 1: something was lost, doubled or made up.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.faults.check import WRONG, against_ledgers, two_contents
from benchmarks.faults.inject import Injector
from benchmarks.faults.ledger import read
from benchmarks.faults.parts import Running, running_parts
from benchmarks.faults.schedule import Kind, schedule
from benchmarks.faults.settle import settle
from benchmarks.machine import about

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import Registry
from headrace.infra.audit import audit
from headrace.infra.errors import InfraError
from headrace.infra.launch.parts import STAGES
from headrace.schemas import Codec

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("kafka", "registry", "clickhouse", *STAGES, "trainer")


def main(argv: Sequence[str] | None = None) -> int:
    """Run, judge and write; gives the exit code."""
    options = _options(argv)
    directory = Path(options.directory or tempfile.mkdtemp(prefix="headrace-faults-"))
    directory.mkdir(parents=True, exist_ok=True)
    _say(f"seed {options.seed}, {options.kills} kills, in {directory}")
    log = (directory / "faults.jsonl").open("a")

    def note(deed: dict[str, Any]) -> None:
        log.write(json.dumps({"seed": options.seed, **deed}) + "\n")
        log.flush()
        left_out = f" (left out: {deed['left_out']})" if deed["left_out"] else ""
        _say(f"{deed['at_s']:8.1f} s  {deed['kind']:<7}{deed['part']}{left_out}")

    began = time.monotonic()
    with log, running_parts(
        directory,
        partitions=options.partitions,
        producers=options.producers,
        seed=options.seed,
        pause_s=options.pause,
        on_event=lambda *_: None,
    ) as running:  # fmt: skip
        injector = Injector(running, note)
        try:
            for fault in schedule(
                options.seed,
                options.kills,
                parts=PARTS,
                producers=[state.name for state in running.producers.states()],
                stages=STAGES,
            ):
                injector.inject(fault)
        finally:
            injector.end()
        harmed_s = time.monotonic() - began
        report = judged(running, options.patience)
    report = {
        "about": about(options),
        "seconds": {"harmed": round(harmed_s, 1), "settled": report.pop("settled_s")},
        "faults": _by_kind(injector.done),
        "late_inserts": {
            "delayed": running.tables.delayed,
            "of_dead_senders": running.tables.orphans,
        },
        **report,
    }
    _say(json.dumps({k: v for k, v in report.items() if k != "about"}, indent=1))
    (directory / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    if not options.dry:
        name = f"{options.name}-seed-{options.seed}-{report['about']['date']}.json"
        (RESULTS / name).write_text(json.dumps(report, indent=1) + "\n")
        _say(f"wrote {RESULTS / name}")
    return 0 if report["clean"] else 1


def judged(running: Running, patience_s: float) -> dict[str, Any]:
    """What is left to find when everything has settled."""
    settings = running.settings
    client = ClickHouse(settings.clickhouse_config)
    registry = Registry(settings.registry_access)
    try:
        try:
            settled_s, unsettled = settle(running, client, patience_s), ""
        except InfraError as error:
            settled_s, unsettled = patience_s, str(error)
        found = audit(settings)
        ledgers = [running.directory(state.name) / "ledger" for state in running.producers.states()]
        counted = against_ledgers(client, read(ledgers))
        versions = two_contents(settings.kafka_access.client("faults"), Codec(registry))
        restarts = {s.name: s.restarts for s in running.parts.states()}
    finally:
        registry.close()
        client.close()
    wrong = [name for name in WRONG if counted[name]]
    wrong += [name for name, number in versions.items() if "two" in name and number]
    return {
        "settled_s": round(settled_s, 1),
        "unsettled": unsettled,
        "clean": found.clean and not wrong and not unsettled,
        "wrong": wrong,
        "audit": {
            "clean": found.clean,
            "counts": found.counts,
            "found": found.found,
            "differences": [asdict(one) for one in found.differences[:10]],
            "notes": found.notes,
        },
        "ledgers": counted,
        "versions": versions,
        "restarts": restarts,
    }


def _by_kind(done: Counter[str]) -> dict[str, dict[str, int]]:
    kinds: dict[str, dict[str, int]] = {kind.value: {} for kind in Kind}
    for deed, number in sorted(done.items()):
        kind, _, part = deed.partition(" ")
        kinds[kind][part or "all"] = number
    return kinds


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.faults.run", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--producers", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.15, help="seconds between agents' steps")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--patience", type=float, default=300.0, help="seconds to settle in")
    parser.add_argument("--directory", help="where the run keeps its data; default: a new one")
    parser.add_argument("--name", default="faults")
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser.parse_args(argv)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
