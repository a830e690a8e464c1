"""The parts that the benchmark runs: those of `headrace up`, without engine and trainer."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.parts import STAGES, build_parts, heartbeat_file
from headrace.infra.settings import (
    ClickHouseSettings,
    DataSettings,
    KafkaSettings,
    RegistrySettings,
    Settings,
)
from headrace.infra.supervise import OnEvent, Part, Supervisor

PARTS = ("kafka", "registry", "clickhouse", *STAGES)
SHARED = ("assemble", "credit")
"""Stages of which there may be several workers."""
_CALM_S = 8.0
_CALM_WITHIN_S = 300.0


class Running:
    """The parts at work."""

    def __init__(self, settings: Settings, supervisor: Supervisor, workers: int = 1) -> None:
        self.settings = settings
        self._supervisor = supervisor
        self._workers = workers
        self._restarts: dict[str, int] = {}

    def calm(self) -> None:
        """Wait until workers have shared the partitions: each that joins restarts the others.

        Raises RuntimeError if they do not come to rest.
        """
        end = time.monotonic() + _CALM_WITHIN_S
        since = time.monotonic()
        while time.monotonic() < end:
            restarts = {state.name: state.restarts for state in self._supervisor.states()}
            if restarts != self._restarts:
                self._restarts, since = restarts, time.monotonic()
            if time.monotonic() - since > _CALM_S:
                return
            time.sleep(0.5)
        raise RuntimeError(f"the workers did not come to rest in {_CALM_WITHIN_S:g} s")

    def pids(self) -> dict[str, int]:
        """Process of each part. Raises RuntimeError if one was started again: it lost its sums."""
        pids = {}
        for state in self._supervisor.states():
            if state.pid is None or state.restarts > self._restarts.get(state.name, 0):
                raise RuntimeError(
                    f"{state.name} is {state.state} after {state.restarts} restarts: "
                    f"see {self.settings.directory / 'logs' / state.name}.log"
                )
            pids[state.name] = state.pid
        return pids

    def counters(self, stage: str) -> dict[str, Any]:
        """What a stage's workers have counted, as of their last heartbeats (one a second)."""
        first = heartbeat_file(self.settings, stage)
        counters: Counter[str] = Counter()
        for number in range(self._workers if stage in SHARED else 1):
            beat = read_heartbeat(first.with_name(f"{stage}-{number}.json"))
            counters.update(beat.get("counters", {}))
        return counters


@contextmanager
def running_parts(
    directory: Path, partitions: int, on_event: OnEvent, workers: int = 1
) -> Iterator[Running]:
    """Start broker, registry, ClickHouse and the workers on free ports, until the block ends.

    `workers` of assemble and of credit each.
    """
    settings = Settings(
        data=DataSettings(directory=str(directory)),
        kafka=KafkaSettings(
            port=free_port(), controller_port=free_port(), partitions=partitions
        ),
        registry=RegistrySettings(port=free_port()),
        clickhouse=ClickHouseSettings(port=free_port()),
    )  # fmt: skip
    parts = [part for part in build_parts(settings, trainer=False) if part.name in PARTS]
    more = [
        _further(part, number, settings)
        for part in parts
        if part.name in SHARED
        for number in range(1, workers)
    ]
    with Supervisor([*parts, *more], on_event, run_dir=settings.directory) as supervisor:
        running = Running(settings, supervisor, workers)
        if workers > 1:
            running.calm()
        yield running


def _further(part: Part, number: int, settings: Settings) -> Part:
    """Another worker of a part's stage."""
    name = f"{part.name}-{number}"
    file = heartbeat_file(settings, part.name).with_name(f"{name}.json")
    return replace(
        part,
        name=name,
        env={**part.env, "HEADRACE_WORKER": name},
        log=part.log.with_name(f"{name}.log"),
        prepare=partial(file.unlink, missing_ok=True),
        ready=partial(_ready, file),
    )


def _ready(file: Path) -> bool:
    return bool(read_heartbeat(file).get("ready"))
