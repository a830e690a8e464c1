"""Settings: one file (`headrace.toml`), overridden by environment variables, a section a part.

Each section is the configuration class of the part that owns it, so it is declared once.
`[section] key = value` in the file is `HEADRACE_SECTION_KEY` in the environment. All faults of the
file and the environment are told at once, before anything starts.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headrace.connectors.clickhouse.config import ClickHouseConfig, bad_database, bad_url
from headrace.connectors.engines.policy import PoliciesSettings, PolicySettings
from headrace.connectors.engines.roles import AgentsSettings, Roles, roles_of
from headrace.connectors.gateway.config import GatewaySettings
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.otlp import OtlpSettings
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.runner.config import RunnerSettings
from headrace.connectors.settings import (
    check,
    key,
    keys,
    tcp_port,
    to_environment,
)
from headrace.connectors.tasks import TasksSettings
from headrace.streams.assemble.config import AssembleConfig
from headrace.streams.credit.config import CreditSettings
from headrace.streams.host.config import StreamsSettings
from headrace.streams.sink.config import SinkSettings
from headrace.trainer.settings import CriticSettings, TrainerSettings

REGISTRY_PATH = "/apis/ccompat/v7"
"""Where the embedded registry speaks the API of Confluent's."""

_EMBEDDED = 1024  # ports below it are the system's
_BROKER = re.compile(r"([^\s:,/@\[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
T = TypeVar("T")


@dataclass(kw_only=True, slots=True, frozen=True)
class DataSettings:
    """Where things are kept."""

    directory: str = ".headrace"
    """Data of the embedded parts, checkpoints, logs and spools; relative to where you start."""

    def __post_init__(self) -> None:
        check(self, "data", ("directory", _bad_directory(self.directory)))


@dataclass(kw_only=True, slots=True, frozen=True)
class KafkaSettings(KafkaAccess):
    """The broker: embedded, unless `bootstrap` names one."""

    bootstrap: str = ""
    """`host:port` of a broker of yours; empty: the embedded one is started."""
    port: int = tcp_port(9092, least=_EMBEDDED)
    """Port of the embedded broker."""
    controller_port: int = tcp_port(9093, least=_EMBEDDED)
    """Port of its controller."""
    partitions: int = key(8, least=1, most=1_000)
    """Partitions of each topic; recorded at creation, refused if the broker has others."""
    replication: int = key(0, least=0, most=100)
    """Brokers of yours that hold each partition of the topics that `headrace up` makes; 0: as the
    cluster's default says. The embedded broker is one."""

    def __post_init__(self) -> None:
        lacks = (
            ""
            if self.bootstrap or self.security_protocol == "PLAINTEXT"
            else (
                f"is {self.security_protocol}, and the embedded broker is PLAINTEXT on loopback: "
                "name your broker in bootstrap"
            )
        )
        alone = self.replication > 1 and not self.bootstrap
        self.check(
            ("security_protocol", lacks),
            ("bootstrap", _bad_bootstrap(self.bootstrap)),
            (
                "replication",
                f"is {self.replication}, and the embedded broker is one: name yours in bootstrap"
                if alone
                else "",
            ),
        )


@dataclass(kw_only=True, slots=True, frozen=True)
class RegistrySettings(RegistryAccess):
    """The schema registry: embedded, unless `url` names one."""

    url: str = ""
    """Confluent-compatible URL; empty: the embedded one is started."""
    port: int = tcp_port(8081, least=_EMBEDDED)
    """Port of the embedded registry."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ClickHouseSettings(ClickHouseConfig):
    """ClickHouse: its embedded engine, unless `url` names a server."""

    url: str = ""
    """`http://host:8123` of a server of yours; empty: the embedded engine is started."""
    port: int = tcp_port(8123, least=_EMBEDDED)
    """Port of the embedded engine's HTTP interface."""

    def __post_init__(self) -> None:
        url = bad_url(self.url) if self.url else ""
        check(self, "clickhouse", ("url", url), ("database", bad_database(self.database)))


@dataclass(kw_only=True, slots=True, frozen=True)
class ConsoleSettings:
    """The pages of `headrace console`."""

    enabled: bool = True
    """Whether `headrace up` starts it."""
    host: str = "127.0.0.1"
    """Address it listens on; beyond loopback it wants keys (`headrace console keys add`)."""
    port: int = tcp_port(8090)
    """Its port."""
    names: tuple[str, ...] = ()
    """Names, without a port, under which browsers reach it beyond loopback; by an address they
    always may."""
    keys_file: str = "console-keys.json"
    """Digests of its keys; relative to the data directory."""

    def __post_init__(self) -> None:
        check(self, "console", ("host", "" if self.host.strip() else "is empty: name an address"))

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        return f"http://{reached(self.host)}:{self.port}"


@dataclass(kw_only=True, slots=True, frozen=True)
class CanarySettings:
    """`headrace canary`: how new versions are tried."""

    share: float = key(0.1, least=0.001, most=0.999)
    """Share of the rollouts that a new version gets while it is tried."""
    comparisons: int = key(40, least=1)
    """Comparisons after which a version that was not found worse has passed."""
    error: float = key(0.01, least=1e-9, most=0.5)
    """Bound on the probability that a version that is not worse is rolled back."""
    every_s: float = key(5.0, least=0.1)
    """Seconds between two looks."""

    def __post_init__(self) -> None:
        check(self, "canary")


@dataclass(kw_only=True, slots=True, frozen=True)
class Settings:
    """All settings, a section a part."""

    data: DataSettings = field(default_factory=DataSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    clickhouse: ClickHouseSettings = field(default_factory=ClickHouseSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    policies: PoliciesSettings = field(default_factory=PoliciesSettings)
    agents: AgentsSettings = field(default_factory=AgentsSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    otlp: OtlpSettings = field(default_factory=OtlpSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    canary: CanarySettings = field(default_factory=CanarySettings)
    runner: RunnerSettings = field(default_factory=RunnerSettings)
    tasks: TasksSettings = field(default_factory=TasksSettings)
    streams: StreamsSettings = field(default_factory=StreamsSettings)
    assemble: AssembleConfig = field(default_factory=AssembleConfig)
    credit: CreditSettings = field(default_factory=CreditSettings)
    sink: SinkSettings = field(default_factory=SinkSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)

    @property
    def directory(self) -> Path:
        """The data directory, absolute."""
        return Path(self.data.directory).expanduser().resolve()

    @property
    def models(self) -> Mapping[str, str]:
        """The models of all policies, by name; the default policy's first."""
        return {self.policy.name: self.policy.model, **self.policies.entries}

    @property
    def roles(self) -> Roles:
        """Which policy answers an agent, and which are trained."""
        return roles_of(tuple(self.models), self.agents)[0]

    @property
    def bootstrap(self) -> str:
        """Bootstrap servers in use."""
        return self.kafka.bootstrap or f"127.0.0.1:{self.kafka.port}"

    @property
    def registry_url(self) -> str:
        """Registry in use."""
        return self.registry.url or f"http://127.0.0.1:{self.registry.port}{REGISTRY_PATH}"

    @property
    def clickhouse_url(self) -> str:
        """ClickHouse in use."""
        return self.clickhouse.url or f"http://127.0.0.1:{self.clickhouse.port}"

    @property
    def gateway_url(self) -> str:
        """Where agents reach the gateway."""
        return f"http://{reached(self.gateway.host)}:{self.gateway.port}"

    @property
    def otlp_url(self) -> str:
        """Where exporters reach the OTLP receiver."""
        return f"http://{reached(self.otlp.host)}:{self.otlp.port}"

    @property
    def console_keys(self) -> Path:
        """Where the console's keys are kept."""
        return self.directory / Path(self.console.keys_file).expanduser()

    @property
    def otlp_grpc(self) -> bool:
        """Whether the receiver reads gRPC too."""
        return self.otlp.enabled and self.otlp.grpc

    @property
    def kafka_access(self) -> KafkaAccess:
        """How every part reaches the broker in use."""
        return _as(KafkaAccess, self.kafka, bootstrap=self.bootstrap)

    @property
    def registry_access(self) -> RegistryAccess:
        """How every part reaches the registry in use."""
        return _as(RegistryAccess, self.registry, url=self.registry_url)

    @property
    def clickhouse_config(self) -> ClickHouseConfig:
        """How every part reaches the ClickHouse in use."""
        return _as(ClickHouseConfig, self.clickhouse, url=self.clickhouse_url)

    def environment(self) -> dict[str, str]:
        """The settings as environment variables for the processes of the parts."""
        values: dict[str, str] = {}
        for section in dataclasses.fields(self):
            values |= to_environment(section.name, getattr(self, section.name))
        values |= {
            "HEADRACE_DATA_DIRECTORY": str(self.directory),
            "HEADRACE_KAFKA_BOOTSTRAP": self.bootstrap,
            "HEADRACE_REGISTRY_URL": self.registry_url,
            "HEADRACE_CLICKHOUSE_URL": self.clickhouse_url,
            "HEADRACE_GATEWAY_URL": self.gateway_url,
        }
        return values


def reached(host: str) -> str:
    """What a client on this machine asks for, of a server that listens on `host`."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _as(cls: type[T], section: Any, **changes: Any) -> T:
    """A section as the smaller class that it extends."""
    values = {one.name: getattr(section, one.name) for one in keys(cls)}
    return cls(**{**values, **changes})


def _bad_bootstrap(text: str) -> str:
    """Why brokers cannot be found by it; empty: they can."""
    brokers = text.split(",") if text else []
    if all(_BROKER.fullmatch(broker.strip()) for broker in brokers):
        return ""
    told = re.sub(r"[^,]*@", "***@", text)  # whoever writes a password there is not told it
    return f"is {told!r}: give host:port, several separated by commas"


def _bad_directory(text: str) -> str:
    """Why the data cannot be there; empty: they can."""
    if not text.strip():
        return "is empty: name a folder"
    path = Path(text).expanduser()
    if any(ord(char) < 32 or 0xD800 <= ord(char) < 0xE000 for char in str(path.absolute())):
        return f"is {str(path.absolute())!r}: give a path in UTF-8, without control characters"
    existing = next((p for p in (path, *path.parents) if p.exists()), None)
    if existing is not None and not existing.is_dir():
        return f"is {text!r}, and {existing} is a file: name a folder, or move the file away"
    return ""
