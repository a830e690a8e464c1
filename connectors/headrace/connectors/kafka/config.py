"""librdkafka's settings, chosen once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from headrace.connectors.kafka.client_log import ClientLog, client_log
from headrace.connectors.settings import check, inner, key, pem_file
from headrace.schemas.topics import MAX_MESSAGE_BYTES

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_ENTRY = ("security.", "sasl.", "ssl.")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(kw_only=True, slots=True, frozen=True)
class KafkaAccess:
    """Where the cluster is and how it is entered: the keys of `[kafka]` that every part needs."""

    bootstrap: str = ""
    """Brokers, "host:port" separated by commas."""
    security_protocol: str = key("PLAINTEXT", choices=PROTOCOLS)
    """How brokers are spoken to: with TLS (`SSL`), with a password (`SASL_…`), or both."""
    sasl_mechanism: str = key("SCRAM-SHA-512", choices=MECHANISMS)
    """How the password is proved."""
    sasl_username: str = ""
    """User, where the protocol is SASL_…."""
    sasl_password: str = key("", secret=True)
    """Its password."""
    ssl_ca_location: str = pem_file()
    """PEM file of the authorities that brokers' certificates are checked against; empty: the
    system's."""
    ssl_certificate_location: str = pem_file()
    """PEM file of this client's certificate, where brokers ask for one."""
    ssl_key_location: str = pem_file()
    """PEM file of its private key."""

    def __post_init__(self) -> None:
        self.check()

    def check(self, *more: tuple[str, str]) -> None:
        """Raise BadSettings for what cannot be; `more` are further faults by key."""
        user, pair = "", ""
        if self.is_sasl and not (self.sasl_username and self.sasl_password):
            user = f"and sasl_password are needed where the protocol is {self.security_protocol}"
        if bool(self.ssl_certificate_location) != bool(self.ssl_key_location):
            pair = "and ssl_key_location go together: give both, or none"
        check(self, "kafka", ("sasl_username", user), ("ssl_certificate_location", pair), *more)

    @property
    def is_sasl(self) -> bool:
        """Whether a user and a password are asked for."""
        return self.security_protocol.startswith("SASL_")

    @property
    def is_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    def client(self, client_id: str, *, delivery_timeout_ms: int = 300_000) -> "KafkaConfig":
        """The configuration of one client of the cluster."""
        access = {one.name: getattr(self, one.name) for one in fields(KafkaAccess)}
        return KafkaConfig(**access, client_id=client_id, delivery_timeout_ms=delivery_timeout_ms)


@dataclass(kw_only=True, slots=True, frozen=True)
class KafkaConfig(KafkaAccess):
    """How one client reaches the cluster."""

    client_id: str = inner("headrace")
    """Name of this client in the brokers' logs."""
    delivery_timeout_ms: int = inner(300_000)
    """How long a producer tries to deliver a record before it reports it as failed; 0: for ever.
    Long enough to sit out a broker's restart."""
    extra: Mapping[str, Any] = inner(default_factory=dict, repr=False)
    """Further librdkafka settings; they win."""

    def __post_init__(self) -> None:
        late = "" if self.delivery_timeout_ms >= 0 else "is negative: give 0 or more"
        lacks = "" if self.bootstrap.strip() else 'is empty: give "host:port" of a broker'
        self.check(("bootstrap", lacks), ("delivery_timeout_ms", late))


def security_settings(config: KafkaAccess) -> dict[str, Any]:
    """librdkafka's settings for entering the cluster."""
    settings: dict[str, Any] = {}
    if config.security_protocol != "PLAINTEXT":
        settings["security.protocol"] = config.security_protocol
    if config.is_sasl:
        settings |= {
            "sasl.mechanism": config.sasl_mechanism,
            "sasl.username": config.sasl_username,
            "sasl.password": config.sasl_password,
        }
    if config.is_tls:
        files = {
            "ssl.ca.location": config.ssl_ca_location,
            "ssl.certificate.location": config.ssl_certificate_location,
            "ssl.key.location": config.ssl_key_location,
        }
        settings |= {name: file for name, file in files.items() if file}
    return settings


def log_of(config: KafkaConfig) -> ClientLog:
    """The log of the clients that enter the cluster in this way."""
    entry = security_settings(config) | dict(config.extra)
    return client_log(config.bootstrap, {k: v for k, v in entry.items() if k.startswith(_ENTRY)})


def _common(config: KafkaConfig) -> dict[str, Any]:
    return {
        "bootstrap.servers": config.bootstrap,
        "client.id": config.client_id,
        "logger": log_of(config),
        # A broker that comes back is found within half a second, not ten.
        "reconnect.backoff.max.ms": 500,
        "topic.metadata.refresh.fast.interval.ms": 100,
        **security_settings(config),
        **config.extra,
    }


def admin_settings(config: KafkaConfig) -> dict[str, Any]:
    """Settings of an AdminClient."""
    return _common(config)


def producer_settings(config: KafkaConfig, **overrides: Any) -> dict[str, Any]:
    """Settings of a producer: idempotent, acks=all, lz4, records up to 8 MiB.

    `overrides` are librdkafka settings with `_` for `.`, as in `linger_ms=0`.
    """
    settings = {
        **_common(config),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": 2,
        "batch.size": 1_000_000,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "message.timeout.ms": config.delivery_timeout_ms,
        "retry.backoff.max.ms": 500,
    } | {name.replace("_", "."): value for name, value in overrides.items()}
    if "transactional.id" in settings:
        # A record may not outlive its transaction: librdkafka refuses a longer time-out.
        limit = settings.setdefault("transaction.timeout.ms", 60_000)
        settings["message.timeout.ms"] = min(settings["message.timeout.ms"] or limit, limit)
    return settings


def consumer_settings(
    config: KafkaConfig, *, group: str, read_committed: bool = True, **overrides: Any
) -> dict[str, Any]:
    """Settings of a consumer of `group`: from the earliest record, commits by hand, and of what
    was written in transactions the committed (rule: only committed records count).

    `overrides` are librdkafka settings with `_` for `.`, as in `enable_partition_eof=True`.
    """
    return {
        **_common(config),
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed" if read_committed else "read_uncommitted",
        "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
    } | {name.replace("_", "."): value for name, value in overrides.items()}
