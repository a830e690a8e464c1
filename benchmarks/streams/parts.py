"""The parts that the benchmark runs: those of `headrace up`, without engine and trainer."""

from collections.abc import Iterator
from contextlib import contextmanager
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
from headrace.infra.supervise import OnEvent, Supervisor

PARTS = ("kafka", "registry", "clickhouse", *STAGES)


class Running:
    """The parts at work."""

    def __init__(self, settings: Settings, supervisor: Supervisor) -> None:
        self.settings = settings
        self._supervisor = supervisor

    def pids(self) -> dict[str, int]:
        """Process of each part. Raises RuntimeError if one was started again: it lost its sums."""
        pids = {}
        for state in self._supervisor.states():
            if state.pid is None or state.restarts:
                raise RuntimeError(
                    f"{state.name} is {state.state} after {state.restarts} restarts: "
                    f"see {self.settings.directory / 'logs' / state.name}.log"
                )
            pids[state.name] = state.pid
        return pids

    def counters(self, stage: str) -> dict[str, Any]:
        """What a worker has counted, as of its last heartbeat (one a second)."""
        counters: dict[str, Any] = read_heartbeat(heartbeat_file(self.settings, stage)).get(
            "counters", {}
        )
        return counters


@contextmanager
def running_parts(directory: Path, partitions: int, on_event: OnEvent) -> Iterator[Running]:
    """Start broker, registry, ClickHouse and the workers on free ports, until the block ends."""
    settings = Settings(
        data=DataSettings(directory=str(directory)),
        kafka=KafkaSettings(
            port=free_port(), controller_port=free_port(), partitions=partitions
        ),
        registry=RegistrySettings(port=free_port()),
        clickhouse=ClickHouseSettings(port=free_port()),
    )  # fmt: skip
    parts = [part for part in build_parts(settings, trainer=False) if part.name in PARTS]
    with Supervisor(parts, on_event, run_dir=settings.directory) as supervisor:
        yield Running(settings, supervisor)
