"""One Apache Kafka broker (KRaft, combined with its controller) on loopback."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from headrace.infra.embedded import jvm, ports
from headrace.infra.embedded.artifacts import Progress, ensure_kafka
from headrace.infra.errors import SettingsError, SetupError
from headrace.schemas.topics import MAX_MESSAGE_BYTES

LOG_DIRECTORY = "data"
PROPERTIES = "server.properties"

_quiet = logging.getLogger(f"{__name__}.client")
_quiet.setLevel(logging.CRITICAL)  # a probe of a broker that is not up yet fails by design


@dataclass(kw_only=True, slots=True, frozen=True)
class BrokerConfig:
    """Configuration of the embedded broker."""

    data_dir: Path
    """Where the log lives; formatted at the first start."""
    port: int = 9092
    """Port of the clients' listener."""
    controller_port: int = 9093
    """Port of the controller's listener."""
    heap_mb: int = 256
    """Heap of the JVM. 64 worked for a minute's load, 256 leaves room for hundreds of topics."""

    def __post_init__(self) -> None:
        ports.check_port(self.port, "[kafka] port")
        ports.check_port(self.controller_port, "[kafka] controller_port")
        if self.port == self.controller_port:
            raise SettingsError(
                f"[kafka] port and [kafka] controller_port are both {self.port}: change one of them"
            )
        jvm.check_heap(self.heap_mb, "heap_mb of the embedded broker", 96)

    @property
    def bootstrap(self) -> str:
        """The address clients connect to."""
        return f"{ports.LOOPBACK}:{self.port}"


def properties(config: BrokerConfig) -> dict[str, str]:
    """Return the broker's settings: one node, small, quick to start and to fail over."""
    clients = f"PLAINTEXT://{ports.LOOPBACK}:{config.port}"
    controller = f"{ports.LOOPBACK}:{config.controller_port}"
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": controller,
        "listeners": f"{clients},CONTROLLER://{controller}",
        "advertised.listeners": clients,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        # Relative to where the broker runs: a comma in an absolute path would end it.
        "log.dirs": LOG_DIRECTORY,
        "auto.create.topics.enable": "false",  # a mistyped topic is an error
        # Time is the log's: agents' clocks only describe.
        "log.message.timestamp.type": "LogAppendTime",
        "message.max.bytes": str(MAX_MESSAGE_BYTES),
        "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed broker may register again only when its old session has ended: 9 s by default.
        "broker.session.timeout.ms": "2000",
        "broker.heartbeat.interval.ms": "500",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "log.cleaner.backoff.ms": "1000",
        "log.index.size.max.bytes": "1048576",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "1",
    }


def prepare(config: BrokerConfig, progress: Progress | None = None) -> None:
    """Fetch the broker if need be, write its settings and format its storage once.

    Raises:
        SetupError: the download or the formatting failed.
        PortInUse: one of its ports is taken.
    """
    ensure_kafka(progress)
    ports.ensure_free(config.port, "Kafka", "[kafka] port")
    ports.ensure_free(config.controller_port, "Kafka's controller", "[kafka] controller_port")
    _log_dir(config).mkdir(parents=True, exist_ok=True)
    lines = [f"{key}={value}\n" for key, value in properties(config).items()]
    (config.data_dir / PROPERTIES).write_text("".join(lines), encoding="ascii")
    if not (_log_dir(config) / "meta.properties").exists():
        _format(config)


def command(config: BrokerConfig) -> list[str]:
    """Return the command line that runs the broker in its data directory; call `prepare` first."""
    return [*_java(config.heap_mb), "kafka.Kafka", PROPERTIES]


def is_ready(bootstrap: str) -> bool:
    """Say whether a broker at "host:port" answers a metadata request within two seconds."""
    host, _, port = bootstrap.rpartition(":")
    if host == ports.LOOPBACK and not ports.answers(int(port)):
        return False  # spares a client that would retry and complain
    client = AdminClient({"bootstrap.servers": bootstrap}, logger=_quiet)
    try:
        return len(client.list_topics(timeout=2).brokers) > 0
    except KafkaException:
        return False


def _format(config: BrokerConfig) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    if cluster.startswith("-"):  # would be read as an option
        cluster = "A" + cluster[1:]
    tool = [*_java(128), "kafka.tools.StorageTool", "format", "--standalone"]
    arguments = ["-t", cluster, "-c", PROPERTIES]
    done = subprocess.run(
        [*tool, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=config.data_dir,
        env={**os.environ, **jvm.ENVIRONMENT},
    )
    if done.returncode != 0:
        raise SetupError(
            f"Kafka cannot format {_log_dir(config)}: {(done.stderr or done.stdout).strip()}"
        )


def _java(heap_mb: int) -> list[str]:
    return [
        str(jvm.java()),
        *jvm.flags(heap_mb),
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-cp",
        str(ensure_kafka().absolute() / "*"),
    ]


def _log_dir(config: BrokerConfig) -> Path:
    return config.data_dir / LOG_DIRECTORY
