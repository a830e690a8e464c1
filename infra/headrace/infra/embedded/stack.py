"""Kafka, registry and ClickHouse as supervised parts."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace.connectors.kafka import topics
from headrace.infra.embedded import jvm, kafka, registry
from headrace.infra.embedded.artifacts import Progress
from headrace.infra.embedded.clickhouse import part as clickhouse
from headrace.infra.embedded.clickhouse.part import ClickHouseServerConfig
from headrace.infra.embedded.kafka import BrokerConfig
from headrace.infra.embedded.ports import free_port
from headrace.infra.embedded.registry import RegistryConfig
from headrace.infra.supervise import OnEvent, Part, Supervisor

EMBEDDED = ("kafka", "registry", "clickhouse")


def embedded_parts(
    *,
    kafka_config: BrokerConfig,
    registry_config: RegistryConfig,
    clickhouse_config: ClickHouseServerConfig,
    logs: Path,
    partitions: int = topics.DEFAULT_PARTITIONS,
    progress: Progress | None = None,
    clickhouse_setup: Callable[[], None] | None = None,
) -> tuple[Part, ...]:
    """Return the parts "kafka", "registry" and "clickhouse".

    The broker's set-up creates the topics with `partitions` partitions, the registry's sets the
    compatibility; ClickHouse's (migrations) is the caller's.
    """
    return (
        Part(
            name="kafka",
            command=partial(kafka.command, kafka_config),
            directory=kafka_config.data_dir,
            env=jvm.ENVIRONMENT,
            ready=partial(kafka.is_ready, kafka_config.bootstrap),
            endpoint=kafka_config.bootstrap,
            prepare=partial(kafka.prepare, kafka_config, progress),
            setup=partial(topics.create_topics, kafka_config.bootstrap, partitions),
            log=logs / "kafka.log",
        ),
        Part(
            name="registry",
            command=partial(registry.command, registry_config),
            env=jvm.ENVIRONMENT,
            ready=partial(registry.is_ready, registry_config.url),
            endpoint=registry_config.url,
            depends=("kafka",),
            prepare=partial(registry.prepare, registry_config, progress),
            setup=partial(registry.configure, registry_config.url),
            log=logs / "registry.log",
        ),
        Part(
            name="clickhouse",
            command=clickhouse.command(clickhouse_config),
            ready=partial(clickhouse.is_ready, clickhouse_config.url),
            endpoint=clickhouse_config.url,
            prepare=partial(clickhouse.prepare, clickhouse_config),
            setup=clickhouse_setup,
            log=logs / "clickhouse.log",
        ),
    )


@dataclass(kw_only=True, slots=True, frozen=True)
class Stack:
    """The running embedded parts, for tests and benchmarks."""

    bootstrap: str
    registry_url: str
    clickhouse_url: str
    directory: Path
    supervisor: Supervisor

    def kill(self, name: str, timeout_s: float = 60.0) -> None:
        """SIGKILL a part and wait until it has been started again and is ready.

        Raises:
            InfraError: it was not ready in time.
        """
        before = next(state for state in self.supervisor.states() if state.name == name)
        if before.pid is None:
            raise ValueError(f"{name} is {before.state}: it has no process to kill")
        os.killpg(before.pid, signal.SIGKILL)
        self.supervisor.wait_for_restart(name, after=before.restarts, timeout_s=timeout_s)


@contextmanager
def running_stack(
    directory: Path,
    *,
    names: tuple[str, ...] = EMBEDDED,
    partitions: int = topics.DEFAULT_PARTITIONS,
    on_event: OnEvent = lambda part, state, message: None,
) -> Iterator[Stack]:
    """Run embedded parts on free ports with their data in a directory, until the block ends.

    Raises:
        PartFailed: one of them did not start.
    """
    kafka_config = BrokerConfig(
        data_dir=directory / "kafka", port=free_port(), controller_port=free_port()
    )
    registry_config = RegistryConfig(bootstrap=kafka_config.bootstrap, port=free_port())
    clickhouse_config = ClickHouseServerConfig(data_dir=directory / "clickhouse", port=free_port())
    parts = embedded_parts(
        kafka_config=kafka_config,
        registry_config=registry_config,
        clickhouse_config=clickhouse_config,
        logs=directory / "logs",
        partitions=partitions,
    )
    chosen = [part for part in parts if part.name in names]
    with Supervisor(chosen, on_event, run_dir=directory) as supervisor:
        yield Stack(
            bootstrap=kafka_config.bootstrap,
            registry_url=registry_config.url,
            clickhouse_url=clickhouse_config.url,
            directory=directory,
            supervisor=supervisor,
        )
