"""Settings: one file (`headrace.toml`), overridden by environment variables, one dataclass a part.

`[section] key = value` in the file is `HEADRACE_SECTION_KEY` in the environment. An unknown
section or key is an error, so that a typo cannot pass silently.
"""

import dataclasses
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from headrace.infra.errors import SettingsError

REGISTRY_PATH = "/apis/ccompat/v7"
"""Where the embedded registry speaks the API of Confluent's."""

FILE_NAME = "headrace.toml"
PREFIX = "HEADRACE_"
SECRET: Mapping[str, Any] = {"secret": True}
RENAMED = {
    ("gateway", "dtype"): ("policy", "dtype"),
    ("trainer", "compute_dtype"): ("policy", "dtype"),
}


@dataclass(kw_only=True, slots=True, frozen=True)
class DataSettings:
    """Where things are kept."""

    directory: str = ".headrace"
    """Data of the embedded parts, checkpoints, logs and spools; relative to where you start."""


@dataclass(kw_only=True, slots=True, frozen=True)
class KafkaSettings:
    """The broker: embedded, unless `bootstrap` names one."""

    bootstrap: str = ""
    """`host:port` of a broker of yours; empty: the embedded one is started."""
    port: int = 9092
    """Port of the embedded broker."""
    controller_port: int = 9093
    """Port of its controller."""
    partitions: int = 8
    """Partitions of each topic; recorded at creation, refused if the broker has others."""


@dataclass(kw_only=True, slots=True, frozen=True)
class RegistrySettings:
    """The schema registry: embedded, unless `url` names one."""

    url: str = ""
    """Confluent-compatible URL; empty: the embedded one is started."""
    port: int = 8081
    """Port of the embedded registry."""


@dataclass(kw_only=True, slots=True, frozen=True)
class ClickHouseSettings:
    """ClickHouse: its embedded engine, unless `url` names a server."""

    url: str = ""
    """`http://host:8123` of a server of yours; empty: the embedded engine is started."""
    port: int = 8123
    """Port of the embedded engine's HTTP interface."""
    user: str = "default"
    """User of a server of yours."""
    password: str = field(default="", repr=False, metadata=SECRET)
    """Its password."""
    database: str = "headrace"
    """Database of our tables; never `default`."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PolicySettings:
    """The policy that is served and trained."""

    name: str = "assistant"
    """Name by which agents ask for it (`model="assistant"`)."""
    model: str = "smollm2"
    """`smollm2` (bundled SmolLM2-135M-Instruct) or a directory with a transformers model."""
    dtype: str = "auto"
    """Arithmetic of engine and trainer: `bfloat16`, `float32` or `auto`."""


@dataclass(kw_only=True, slots=True, frozen=True)
class GatewaySettings:
    """The OpenAI-compatible gateway."""

    host: str = "127.0.0.1"
    """Address it listens on; beyond loopback it wants `keys`."""
    port: int = 8000
    """Its port."""
    keys: str = field(default="", repr=False, metadata=SECRET)
    """API keys, separated by commas; empty: none asked (loopback only)."""
    threads: int = 2
    """CPU threads of the built-in engine."""
    max_batch: int = 48
    """Requests decoded together at most."""


@dataclass(kw_only=True, slots=True, frozen=True)
class StreamsSettings:
    """What the stream workers have in common."""

    poison_limit: int = 100
    """Unreadable records of a partition within the window before it is halted; 0: any number."""
    poison_window_ms: int = 600_000
    """The window, in milliseconds of log time."""


@dataclass(kw_only=True, slots=True, frozen=True)
class AssembleSettings:
    """The stage that makes episodes of spans. Times are log time, milliseconds."""

    idle_ms: int = 120_000
    """An episode without an end span closes after this long without a span."""
    max_age_ms: int = 3_600_000
    """… or this long after its first span."""
    memory_bytes: int = 256 * 1024 * 1024
    """Spans kept in memory; older episodes are read back from ClickHouse when they are touched."""


@dataclass(kw_only=True, slots=True, frozen=True)
class CreditSettings:
    """Rewards and credit. Times are log time, milliseconds."""

    rule: str = "reward-span:reward"
    """Reward rule: `module:function`, `reward-span:NAME`, or `span:a=1.0,b=0.5`."""
    baseline: str = "grpo"
    """Group baseline: grpo, dr_grpo, rloo, leave_one_out or none."""
    call: str = "uniform"
    """Trajectory to calls: uniform, or discounted(GAMMA)."""
    train_agents: str = ""
    """Agents that are trained, separated by commas; empty: all."""
    grace_ms: int = 30_000
    """A group is decided this long after its last deadline, complete or not."""
    max_wait_ms: int = 600_000
    """A group without deadlines is decided this long after its first episode."""


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainerSettings:
    """The trainer."""

    name: str = "main"
    """Name of the trainer; another name trains beside it on equal data."""
    group_size: int = 8
    """Rollouts of a group."""
    groups_per_step: int = 6
    """Groups of an optimiser step."""
    max_staleness: int = 1
    """η: versions a sample may lag behind, at most."""
    learning_rate: float = 1e-5
    """Learning rate of AdamW on the fp32 master weights."""
    horizon: int = 16
    """Constant by which an episode's token sum is divided."""
    threads: int = 2
    """CPU threads of a step."""
    max_versions: int = 0
    """Stop after this many new versions; 0: never."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Settings:
    """All settings, a section a part."""

    data: DataSettings = field(default_factory=DataSettings)
    kafka: KafkaSettings = field(default_factory=KafkaSettings)
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    clickhouse: ClickHouseSettings = field(default_factory=ClickHouseSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    streams: StreamsSettings = field(default_factory=StreamsSettings)
    assemble: AssembleSettings = field(default_factory=AssembleSettings)
    credit: CreditSettings = field(default_factory=CreditSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)

    @property
    def directory(self) -> Path:
        """The data directory, absolute."""
        return Path(self.data.directory).expanduser().resolve()

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
        host = "127.0.0.1" if self.gateway.host in ("0.0.0.0", "::") else self.gateway.host
        return f"http://{host}:{self.gateway.port}"

    def environment(self) -> dict[str, str]:
        """The settings as environment variables for the processes of the parts."""
        values = {
            variable(section.name, key.name): _text(getattr(getattr(self, section.name), key.name))
            for section in dataclasses.fields(self)
            for key in dataclasses.fields(getattr(self, section.name))
        }
        values |= {
            "HEADRACE_DATA_DIRECTORY": str(self.directory),
            "HEADRACE_KAFKA_BOOTSTRAP": self.bootstrap,
            "HEADRACE_REGISTRY_URL": self.registry_url,
            "HEADRACE_CLICKHOUSE_URL": self.clickhouse_url,
            "HEADRACE_GATEWAY_URL": self.gateway_url,
        }
        return values


def variable(section: str, key: str) -> str:
    """Name of the environment variable of a setting."""
    return f"{PREFIX}{section}_{key}".upper()


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Settings of a file (default: `headrace.toml` here, if it exists) and the environment.

    `overrides` (section -> key -> value) wins over both. Raises SettingsError for a file that
    does not parse, an unknown section or key, or a value of the wrong type.
    """
    sections = _from_file(file)
    environment = os.environ if environment is None else environment
    _refuse_renamed(sections, environment)
    for section, key in _known_keys():
        text = environment.get(variable(section, key))
        if text is not None:
            sections.setdefault(section, {})[key] = text
    for section, values in (overrides or {}).items():
        sections.setdefault(section, {}).update(values)
    built = {}
    hints = typing.get_type_hints(Settings)
    for section, values in sections.items():
        if section not in hints:
            raise SettingsError(f"unknown section [{section}]: there are {', '.join(hints)}")
        built[section] = _section(hints[section], section, values)
    return Settings(**built)


def _from_file(file: Path | None) -> dict[str, dict[str, Any]]:
    path = file or Path(FILE_NAME)
    if not path.exists():
        if file is not None:
            raise SettingsError(f"no settings file {file}")
        return {}
    try:
        sections: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error
    for section, values in sections.items():
        if not isinstance(values, dict):
            raise SettingsError(f"{path}: `{section}` must stand in a section, as [part] key = …")
    return sections


def _refuse_renamed(
    sections: Mapping[str, Mapping[str, Any]], environment: Mapping[str, str]
) -> None:
    for (section, key), (new_section, new_key) in RENAMED.items():
        old, new = variable(section, key), variable(new_section, new_key)
        if key in sections.get(section, {}) or old in environment:
            raise SettingsError(
                f"[{section}] {key} ({old}) is now [{new_section}] {new_key} ({new}): set that one"
            )


def _known_keys() -> list[tuple[str, str]]:
    return [
        (name, key.name)
        for name, cls in typing.get_type_hints(Settings).items()
        for key in dataclasses.fields(cls)
    ]


S = TypeVar("S")


def _section(cls: type[S], section: str, values: Mapping[str, Any]) -> S:
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise SettingsError(f"unknown key [{section}] {key}: there are {', '.join(hints)}")
    return cls(**{key: _typed(hints[key], section, key, value) for key, value in values.items()})


def _typed(hint: Any, section: str, key: str, value: Any) -> Any:
    where = f"[{section}] {key} (or {variable(section, key)})"
    try:
        if hint is bool and isinstance(value, str):
            return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        if hint is float and isinstance(value, (int, str)):
            return float(value)
        if hint is int and isinstance(value, str):
            return int(value)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"{where}: {value!r} is no {hint.__name__}") from error
    if type(value) is not hint:
        raise SettingsError(f"{where}: {value!r} is no {hint.__name__}")
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
