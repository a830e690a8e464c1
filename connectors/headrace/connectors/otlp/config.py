"""What the OTLP receiver can be told: its section of the settings, and what its process gets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.http_server import bad_host, bad_keys
from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.settings import (
    check,
    inner,
    key,
    keys,
    sections_from_environment,
    tcp_port,
)

SPOOL = ".headrace/spool/otlp"
KAFKA, REGISTRY = "127.0.0.1:9092", "http://127.0.0.1:8081"
"""Where a receiver that is started alone looks for them."""


@dataclass(kw_only=True, slots=True, frozen=True)
class OtlpSettings:
    """The receiver of OpenTelemetry's spans (OTLP)."""

    enabled: bool = True
    """Whether `headrace up` starts it."""
    host: str = "127.0.0.1"
    """Address it listens on; beyond loopback it wants `keys`."""
    port: int = tcp_port(4318)
    """Its port."""
    grpc: bool = False
    """Whether OTLP over gRPC is read too; needs the extra `otlp-grpc`."""
    grpc_port: int = tcp_port(4317)
    """Its port."""
    keys: tuple[str, ...] = key((), secret=True)
    """API keys of which an exporter sends one as its bearer token; empty: none asked (loopback
    only)."""
    project: str = "default"
    """Project of spans that name none (`headrace.project`)."""
    max_body_bytes: int = key(16 * 1024 * 1024, least=1)
    """Bytes of a request's body at most, after inflating."""
    max_in_flight: int = key(64, least=1)
    """Requests that may run or wait; further ones are answered 429."""
    durable_s: float = key(10.0, least=0.1)
    """Seconds that a request waits until its spans are durable; then 503, and it is sent again."""
    retry_s: int = key(1, least=1)
    """Seconds after which a refused exporter is told to try again."""
    memory_bytes: int = key(256 * 1024 * 1024, least=1_000)
    """Bytes of spans that may wait for Kafka; further ones are answered 429."""

    def __post_init__(self) -> None:
        self.check()

    def check(self, *more: tuple[str, str]) -> None:
        """Raise BadSettings for what cannot be; `more` are further faults by key."""
        check(
            self,
            "otlp",
            ("host", bad_host(self.host, self.keys)),
            ("keys", bad_keys(self.keys)),
            *more,
        )


@dataclass(kw_only=True, slots=True, frozen=True)
class OtlpConfig(OtlpSettings):
    """Configuration of the receiver's process.

    Raises:
        BadSettings: a field cannot be; the message names it and the fix.
    """

    kafka: KafkaAccess = inner(default_factory=lambda: KafkaAccess(bootstrap=KAFKA))
    registry: RegistryAccess = inner(default_factory=lambda: RegistryAccess(url=REGISTRY))
    privacy: PrivacySettings = inner(default_factory=PrivacySettings)
    """What of spans is kept."""
    spool_directory: Path = inner(Path(SPOOL))
    """Where spans wait while the broker is away."""
    heartbeat: Path | None = inner(None)
    """File that says what it has taken."""


def config_from_environment(environment: Mapping[str, str]) -> OtlpConfig:
    """Configuration from `HEADRACE_*`; an empty variable counts as unset.

    Raises:
        BadSettings: names each variable that cannot be used.
    """
    environment = {
        "HEADRACE_KAFKA_BOOTSTRAP": KAFKA,
        "HEADRACE_REGISTRY_URL": REGISTRY,
        **environment,
    }
    made = sections_from_environment(SECTIONS, environment)
    otlp = {one.name: getattr(made["otlp"], one.name) for one in keys(OtlpSettings)}
    run = environment.get("HEADRACE_RUN_DIRECTORY")
    return OtlpConfig(
        **otlp,
        kafka=made["kafka"],
        registry=made["registry"],
        privacy=made["privacy"],
        spool_directory=Path(environment.get("HEADRACE_SPOOL_DIRECTORY") or SPOOL),
        heartbeat=Path(run) / "otlp.json" if run else None,
    )


SECTIONS: Mapping[str, type] = {
    "otlp": OtlpSettings,
    "kafka": KafkaAccess,
    "registry": RegistryAccess,
    "privacy": PrivacySettings,
}
"""What of the settings the receiver reads."""
