"""Runners and task sources under these settings, and a runner beside another command."""

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from headrace.connectors.metrics import Reporter, Subscription
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.runner import CommandAgent, Runner, RunnerConfig, RunnerSettings
from headrace.connectors.settings import keys
from headrace.connectors.tasks import TaskSourceConfig
from headrace.infra.settings import Settings
from headrace.schemas import to_avro
from headrace.schemas.topics import Topic

STOP_S = 20.0
BEAT_S = 1.0
COMMANDS_AT_ONCE = 8


def runner_config(
    settings: Settings,
    *,
    agent: str | None = None,
    command: CommandAgent | None = None,
    name: str = "0",
    **asked: int | bool | None,
) -> RunnerConfig:
    """The runner's configuration under these settings; `name` tells runners of one host apart.

    `asked` are keys of `[runner]` that win over the settings; None: the setting's value.
    """
    own = {one.name: getattr(settings.runner, one.name) for one in keys(RunnerSettings)}
    own |= {key: value for key, value in asked.items() if value is not None}
    alone = command is not None or RunnerSettings(**own).isolated
    if alone and asked.get("concurrency") is None:
        own["concurrency"] = COMMANDS_AT_ONCE  # each is a process
    return RunnerConfig(
        **own,
        kafka=settings.kafka_access,
        registry=settings.registry_access,
        poison=settings.streams,
        privacy=settings.privacy,
        gateway_url=settings.gateway_url,
        names_agents=bool(settings.agents.entries),
        api_key=settings.gateway.key_for("default") or "headrace",
        agent=agent,
        command=command,
        name=f"{socket.gethostname()}/{name}",
        spool_directory=settings.directory / "spool" / f"work-{name}",
        journals=settings.directory / "spool" / "attempts",
        scratch=settings.directory / "spool" / "scratch",
    )


class RunnerReport:
    """Tells once a second how a runner fares, while the block lasts."""

    def __init__(self, runner: Runner, config: RunnerConfig, directory: Path, name: str) -> None:
        self._runner = runner
        self._at = float("-inf")
        self._reporter = Reporter(
            directory / "run" / f"work-{name}.json",
            part="work",
            subscription=Subscription(
                kafka=config.kafka.client("headrace-runner-lag"),
                group=config.group,
                topics=[Topic.TASKS],
            ),
        )

    def __enter__(self) -> Self:
        """Serve the metrics."""
        self._reporter.serve()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Serve them no more."""
        self._reporter.close()

    def turn(self) -> None:
        """To be called several times a second."""
        if time.monotonic() - self._at < BEAT_S:
            return
        self._at = time.monotonic()
        runner = self._runner
        self._reporter.tell(
            {
                "ready": True,
                "waiting": "no broker answers" if runner.away else "",
                "counters": asdict(runner.stats),
                "halted": [to_avro(halt) for _, halt in sorted(runner.halted.items())],
            }
        )


def unrecorded(settings: PrivacySettings, project: str) -> str | None:
    """Why tasks of a project cannot be run; None: they can."""
    if settings.capture_of(project) != "none":
        return None
    return (
        "[privacy] capture is none, so no attempt would be in the log and its task would wait for "
        "ever: set metadata, or run agents with `headrace run`"
    )


def source_config(
    settings: Settings, *, agent: str = "", policy: str = "", deadline_s: float
) -> TaskSourceConfig:
    """The source that keeps pace with the trainer of a policy; empty: the default policy."""
    trainer = settings.trainer
    return TaskSourceConfig(
        kafka=settings.kafka_access,
        registry=settings.registry_access,
        policy=policy or settings.policy.name,
        poison=settings.streams,
        agent=agent,
        trainer=trainer.name,
        group_size=trainer.group_size,
        rollouts_per_step=trainer.rollouts_per_step,
        max_staleness=trainer.max_staleness,
        deadline_s=deadline_s,
        pause_after=settings.tasks.pause_after,
    )


@contextmanager
def work_process(
    settings_file: Path, log: Path, python: Path = Path(sys.executable)
) -> Iterator[None]:
    """`headrace work` in a process while the block runs; `python` has the packages of its agent."""
    from headrace.infra.supervise.process import ChildProcess  # here: it needs the `local` extra

    log.parent.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-P", "-m", "headrace.infra.cli", "work"]
    command += ["--settings", str(settings_file)]
    environment = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    process = ChildProcess(command, environment, log)
    try:
        yield
    finally:
        process.stop(STOP_S)
