"""Brokers in one cluster: each partition on all, written when two have it (or the only one)."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headrace.infra.embedded import BrokerConfig, jvm, kafka, ports
from headrace.infra.supervise import Part, Supervisor

NODES = 3


@dataclass(kw_only=True, slots=True, frozen=True)
class Cluster:
    """Running brokers."""

    brokers: tuple[BrokerConfig, ...]
    supervisor: Supervisor

    @property
    def bootstrap(self) -> str:
        """All brokers: whoever knows one alone cannot outlive it."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def kill(self, node: int) -> int:
        """SIGKILL a broker by its node id (from 1 on); gives its restarts until now."""
        state = next(s for s in self.supervisor.states() if s.name == f"kafka-{node}")
        assert state.pid is not None
        os.killpg(state.pid, signal.SIGKILL)
        return state.restarts

    def wait_for(self, node: int, restarts: int) -> None:
        """Until a killed broker answers again."""
        self.supervisor.wait_for_restart(f"kafka-{node}", after=restarts, timeout_s=120)


@contextmanager
def running_cluster(directory: Path, nodes: int = NODES) -> Iterator[Cluster]:
    """Combined brokers and controllers (KRaft, static quorum) until the block ends."""
    brokers = tuple(
        BrokerConfig(
            data_dir=directory / f"kafka-{node}",
            port=ports.free_port(),
            controller_port=ports.free_port(),
            heap_mb=192,
        )
        for node in range(1, nodes + 1)
    )
    voters = ",".join(
        f"{node}@{ports.LOOPBACK}:{one.controller_port}" for node, one in enumerate(brokers, 1)
    )
    cluster = "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
    parts = [
        Part(
            name=f"kafka-{node}",
            command=partial(kafka.command, one),
            directory=one.data_dir,
            env=jvm.ENVIRONMENT,
            ready=partial(kafka.is_ready, one.bootstrap),
            prepare=partial(_prepare, one, node, voters, cluster, nodes),
            log=directory / "logs" / f"kafka-{node}.log",
        )
        for node, one in enumerate(brokers, 1)
    ]
    with Supervisor(parts, lambda *_: None, run_dir=directory) as supervisor:
        yield Cluster(brokers=brokers, supervisor=supervisor)


def _prepare(broker: BrokerConfig, node: int, voters: str, cluster: str, nodes: int) -> None:
    (broker.data_dir / kafka.LOG_DIRECTORY).mkdir(parents=True, exist_ok=True)
    settings = kafka.properties(broker) | {
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "controller.quorum.fetch.timeout.ms": "2000",
        "controller.quorum.election.timeout.ms": "1000",
        "default.replication.factor": "1",  # what asks for no more gets no more
        "min.insync.replicas": str(min(nodes, 2)),
        "unclean.leader.election.enable": "false",
        "offsets.topic.replication.factor": str(nodes),
        "transaction.state.log.replication.factor": str(nodes),
        "transaction.state.log.min.isr": str(min(nodes, 2)),
        "share.coordinator.state.topic.replication.factor": str(nodes),
        "share.coordinator.state.topic.min.isr": str(min(nodes, 2)),
    }
    del settings["controller.quorum.bootstrap.servers"]
    file = broker.data_dir / kafka.PROPERTIES
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    if (broker.data_dir / kafka.LOG_DIRECTORY / "meta.properties").exists():
        return
    java = kafka.command(broker)[:-2]
    tool = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", kafka.PROPERTIES]
    subprocess.run(
        [*java, *tool],
        check=True,
        capture_output=True,
        cwd=broker.data_dir,
        env={**os.environ, **jvm.ENVIRONMENT},
    )
