"""Runners and task sources under these settings, and a runner beside another command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.connectors.runner import RunnerConfig
from headrace.connectors.tasks import TaskSourceConfig
from headrace.infra.settings import Settings

STOP_SECONDS = 20.0


def runner_config(
    settings: Settings,
    *,
    processes: int = 2,
    concurrency: int = 48,
    agent: str | None = None,
    name: str = "0",
) -> RunnerConfig:
    """The runner's configuration under these settings; `name` tells runners of one host apart."""
    keys = [key.strip() for key in settings.gateway.keys.split(",") if key.strip()]
    return RunnerConfig(
        bootstrap=settings.bootstrap,
        registry_url=settings.registry_url,
        gateway_url=settings.gateway_url,
        api_key=keys[0] if keys else "headrace",
        agent=agent,
        processes=processes,
        concurrency=concurrency,
        spool_directory=settings.directory / "spool" / f"work-{name}",
    )


def source_config(settings: Settings, *, agent: str = "", deadline_s: float) -> TaskSourceConfig:
    """The source that keeps pace with the trainer of these settings."""
    trainer = settings.trainer
    return TaskSourceConfig(
        bootstrap=settings.bootstrap,
        registry_url=settings.registry_url,
        policy=settings.policy.name,
        agent=agent,
        trainer=trainer.name,
        group_size=trainer.group_size,
        rollouts_per_step=trainer.group_size * trainer.groups_per_step,
        max_staleness=trainer.max_staleness,
        deadline_s=deadline_s,
    )


@contextmanager
def work_process(settings_file: Path, log: Path) -> Iterator[None]:
    """`headrace work` in a process of its own while the block runs."""
    from headrace.infra.supervise.process import ChildProcess  # here: it needs the `local` extra

    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "headrace.infra.cli", "work"]
    command += ["--settings", str(settings_file)]
    environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = ChildProcess(command, environment, log)
    try:
        yield
    finally:
        process.stop(STOP_SECONDS)
