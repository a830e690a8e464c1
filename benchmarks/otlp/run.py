"""Measures what the OTLP receiver takes: spans a second until Kafka has them, and until ClickHouse.

`python -m benchmarks.otlp.run` from the repository's root starts a broker, a registry, ClickHouse's
engine, the assembler and the receiver on free ports, as `headrace up` does, and posts requests that
were made before. Writes JSON to `benchmarks/results/`. Exit code 1: a span was lost or counted
twice. Nothing is asserted of times.
"""

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.machine import about
from benchmarks.otlp.load import requests
from benchmarks.streams.meter import cpu_seconds, peak_bytes
from benchmarks.streams.parts import Running

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.otlp import OtlpSettings
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.parts import build_parts
from headrace.infra.settings import (
    ClickHouseSettings,
    DataSettings,
    KafkaSettings,
    RegistrySettings,
    Settings,
)
from headrace.infra.supervise import Supervisor

RESULTS = Path(__file__).parents[1] / "results"
PARTS = ("kafka", "registry", "clickhouse", "assemble", "otlp")
_PATIENCE_S = 300.0


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a warm-up and the measured phases; gives the exit code."""
    options = _options(argv)
    load = round(os.getloadavg()[0], 1)  # of whoever else uses the machine, before it begins
    with (
        tempfile.TemporaryDirectory(prefix="headrace-otlp-") as scratch,
        _running(Path(scratch)) as running,
    ):
        _phase(running, "warm-up", options.spans // 10, options)
        phases = [
            _phase(running, f"run-{number}", options.spans, options)
            for number in range(options.runs)
        ]
    for phase in phases:
        sys.stdout.write(json.dumps(phase) + "\n")
    if not options.dry:
        facts = about(options) | {"load_before": load}
        file = RESULTS / f"otlp-{facts['cores']}-cores-{facts['date']}.json"
        file.write_text(json.dumps({"about": facts, "phases": phases}, indent=1) + "\n")
    return int(any(phase["rows"] != phase["spans"] or phase["errors"] for phase in phases))


def _phase(running: Running, name: str, spans: int, options: argparse.Namespace) -> dict[str, Any]:
    bodies = list(requests(spans, options.per_request, options.text_bytes, name))
    before = cpu_seconds(running.pids())
    began = time.perf_counter()
    errors = _post_all(running.settings.otlp.port, bodies, options.clients)
    taken = time.perf_counter() - began
    at_kafka = cpu_seconds(running.pids())
    rows = _wait_for_rows(running.settings, name, spans)
    stored = time.perf_counter() - began
    after = cpu_seconds(running.pids())
    return {
        "name": name,
        "spans": spans,
        "bytes_per_span": round(sum(map(len, bodies)) / spans),
        "requests": len(bodies),
        "errors": errors,
        "rows": rows,
        "to_kafka_s": round(taken, 3),
        "to_kafka_spans_per_s": round(spans / taken),
        "to_clickhouse_s": round(stored, 3),
        "to_clickhouse_spans_per_s": round(spans / stored),
        "cpu_us_per_span": {
            part: round((after[part] - before[part]) / spans * 1e6, 1) for part in after
        },
        "receiver_cores": round((at_kafka["otlp"] - before["otlp"]) / taken, 2),
        "peak_megabytes": {
            part: round(size / 1e6) for part, size in peak_bytes(running.pids()).items()
        },
    }


def _post_all(port: int, bodies: Sequence[bytes], clients: int) -> int:
    """Post all bodies over so many connections; how many were not answered 200."""
    with ThreadPoolExecutor(clients) as pool:
        shares = [bodies[number::clients] for number in range(clients)]
        return sum(pool.map(lambda share: _post(port, share), shares))


def _post(port: int, bodies: Sequence[bytes]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    errors = 0
    for body in bodies:
        for _ in range(50):
            connection.request(
                "POST", "/v1/traces", body, {"Content-Type": "application/x-protobuf"}
            )
            answer = connection.getresponse()
            answer.read()
            if answer.status not in (429, 503):
                break
            time.sleep(float(answer.headers["Retry-After"]))
        errors += answer.status != 200
    connection.close()
    return errors


def _wait_for_rows(settings: Settings, name: str, spans: int) -> int:
    client = ClickHouse(settings.clickhouse_config)
    sql = f"SELECT count() AS n FROM spans FINAL WHERE startsWith(rollout_id, '{name}-')"
    end = time.monotonic() + _PATIENCE_S
    try:
        rows = 0
        while rows < spans and time.monotonic() < end:
            time.sleep(0.1)
            (row,) = client.query(sql)
            rows = int(str(row["n"]))
        return rows
    finally:
        client.close()


@contextmanager
def _running(directory: Path) -> Iterator[Running]:
    settings = Settings(
        data=DataSettings(directory=str(directory)),
        kafka=KafkaSettings(port=free_port(), controller_port=free_port()),
        registry=RegistrySettings(port=free_port()),
        clickhouse=ClickHouseSettings(port=free_port()),
        otlp=OtlpSettings(port=free_port()),
    )
    parts = [part for part in build_parts(settings, trainer=False) if part.name in PARTS]
    with Supervisor(parts, lambda *_: None, run_dir=settings.directory) as supervisor:
        yield Running(settings, supervisor)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.otlp.run", description=__doc__)
    parser.add_argument("--spans", type=int, default=60_000, help="of a run")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--per-request", type=int, default=512, help="spans of a request")
    parser.add_argument("--text-bytes", type=int, default=740, help="texts of a call or tool")
    parser.add_argument("--clients", type=int, default=4, help="connections")
    parser.add_argument("--dry", action="store_true", help="write no file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
