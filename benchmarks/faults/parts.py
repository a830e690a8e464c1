"""The parts of a fault run: those of `headrace up` without the gateway, and producers."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.faults.load import POLICY
from benchmarks.faults.slow_tables import SlowTables
from benchmarks.faults.small_disk import SmallDisk, small_disks_are_possible

from headrace.connectors.engines.policy import PolicySettings
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.infra.launch.parts import STAGES, build_parts
from headrace.infra.settings import (
    ClickHouseSettings,
    DataSettings,
    KafkaSettings,
    RegistrySettings,
    Settings,
)
from headrace.infra.supervise import OnEvent, Part, Supervisor
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.credit.config import CreditSettings
from headrace.trainer.settings import TrainerSettings

IDLE_MS = 8_000
WAIT_MS = 10_000
DISK_BYTES = 1 << 30


class Running:
    """The parts and producers at work, and the proxy before ClickHouse."""

    def __init__(
        self,
        settings: Settings,
        parts: Supervisor,
        producers: Supervisor,
        stages: dict[str, Part],
        tables: SlowTables,
        disk: SmallDisk | None,
    ) -> None:
        self.settings = settings
        self.parts = parts
        self.producers = producers
        self.stages = stages
        """How a worker of each stage is started."""
        self.tables = tables
        self.disk = disk
        """What ClickHouse writes to; None: this machine lends no disk that could be filled."""

    def owner(self, name: str) -> Supervisor:
        """Who watches a part or a producer."""
        known = {state.name for state in self.producers.states()}
        return self.producers if name in known else self.parts

    def directory(self, producer: str) -> Path:
        """Where a producer keeps its spool, its ledger and its clock."""
        return _home(self.settings, producer)


def settings_in(directory: Path, *, partitions: int) -> Settings:
    """Small and patient where faults need it: deadlines of seconds, and samples never too old."""
    model = tiny_llama(directory / "model")
    return Settings(
        data=DataSettings(directory=str(directory / "data")),
        kafka=KafkaSettings(
            port=free_port(), controller_port=free_port(), partitions=partitions
        ),
        registry=RegistrySettings(port=free_port()),
        clickhouse=ClickHouseSettings(port=free_port()),
        policy=PolicySettings(name=POLICY, model=str(model)),
        # Outages are longer: episodes close too early and are revised, which has to end well too.
        assemble=AssembleConfig(idle_ms=IDLE_MS),
        credit=CreditSettings(max_wait_ms=WAIT_MS),
        trainer=TrainerSettings(
            group_size=2, groups_per_step=4, max_staleness=1_000_000, stale="drop", threads=1,
            horizon=4,
        ),
    )  # fmt: skip


@contextmanager
def running_parts(
    directory: Path,
    *,
    partitions: int,
    producers: int,
    seed: int,
    pause_s: float,
    on_event: OnEvent,
) -> Iterator[Running]:
    """Start everything and stop it at the end of the block. Raises PartFailed."""
    settings = settings_in(directory, partitions=partitions)
    with ExitStack() as held:
        tables = held.enter_context(SlowTables(settings.clickhouse_url))
        disk = None
        if small_disks_are_possible():
            disk = SmallDisk(settings.directory / "clickhouse", DISK_BYTES)
            held.enter_context(disk)
        parts = [
            _placed(part, tables, disk)
            for part in build_parts(settings)
            if part.name not in ("gateway", "otlp", "console")
        ]
        stages = {part.name: part for part in parts if part.name in STAGES}
        sources = [_producer(settings, i, seed, pause_s) for i in range(producers)]
        supervisor = held.enter_context(Supervisor(parts, on_event, run_dir=settings.directory))
        agents = held.enter_context(
            Supervisor(sources, on_event, run_dir=settings.directory / "producers")
        )
        yield Running(settings, supervisor, agents, stages, tables, disk)


def _placed(part: Part, tables: SlowTables, disk: SmallDisk | None) -> Part:
    if part.name in STAGES:
        return replace(part, env={**part.env, "HEADRACE_CLICKHOUSE_URL": tables.url})
    if part.name == "clickhouse" and disk is not None:
        assert isinstance(part.command, list)
        return replace(part, command=disk.command(part.command))
    return part


def _producer(settings: Settings, index: int, seed: int, pause_s: float) -> Part:
    name = f"producer-{index}"
    home = _home(settings, name)
    home.mkdir(parents=True, exist_ok=True)
    return Part(
        name=name,
        command=[
            sys.executable, "-m", "benchmarks.faults.produce",
            "--directory", str(home),
            "--bootstrap", settings.bootstrap,
            "--registry", settings.registry_url,
            "--seed", str(seed + index),
            "--pause", str(pause_s),
        ],
        ready=partial(Path.exists, home / "begun"),
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUNBUFFERED": "1"},
        prepare=partial(Path.unlink, home / "begun", missing_ok=True),
        log=settings.directory / "logs" / f"{name}.log",
    )  # fmt: skip


def _home(settings: Settings, producer: str) -> Path:
    return settings.directory / "producers" / producer
