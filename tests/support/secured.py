"""Real parts that let in whom they know: the broker by SASL/SCRAM over TLS, the others by HTTPS.

Whoever enters the broker may use what is named headrace alone; one user may use nothing. A listener
asks for a certificate instead of a password, and a plain one is the registry's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

# Public names, but not in an __all__.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialUpsertion,
)

from headrace.infra.embedded import (
    BrokerConfig,
    ClickHouseServerConfig,
    RegistryConfig,
    embedded_parts,
    kafka,
    ports,
)
from headrace.infra.launch.parts import prepare_external
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import Supervisor
from tests.support.certificates import Authority, Identity
from tests.support.tls_front import of_a_registry, of_clickhouse, tls_front

USER, PASSWORD = "agent", "hush-hush-of-kafka"
REGISTRY_USER, REGISTRY_PASSWORD = "schemas", "hush-hush-of-the-registry"
CLICKHOUSE_USER, CLICKHOUSE_PASSWORD = "tables", "hush-hush-of-clickhouse"
SECRETS = (PASSWORD, REGISTRY_PASSWORD, CLICKHOUSE_PASSWORD)
WITHOUT_RIGHTS = "guest"
RIGHTS = (ResourceType.TOPIC, ResourceType.GROUP, ResourceType.TRANSACTIONAL_ID)


@dataclass(kw_only=True, slots=True, frozen=True)
class Secured:
    """Running parts, and how they are entered."""

    environment: dict[str, str]
    """How they are entered, as variables of the settings."""
    plain: str
    """The broker's listener that asks for nothing."""
    plain_urls: dict[str, str]
    """Registry and ClickHouse as they are behind their servers of HTTPS."""
    by_certificate: str
    """The one that asks for a certificate."""
    identity: Identity
    """Such a certificate."""

    @property
    def settings(self) -> Settings:
        """The settings that enter."""
        return load(environment=self.environment)


@contextmanager
def secured_stack(directory: Path) -> Iterator[Secured]:
    """A running broker, registry and ClickHouse, prepared as `headrace up` does it."""
    authority = Authority(directory / "certificates")
    identity = authority.issue(USER)
    broker = BrokerConfig(
        data_dir=directory / "kafka", port=ports.free_port(), controller_port=ports.free_port()
    )
    by_password, by_certificate = (f"127.0.0.1:{ports.free_port()}" for _ in range(2))
    registry = RegistryConfig(bootstrap=broker.bootstrap, port=ports.free_port())
    clickhouse = ClickHouseServerConfig(data_dir=directory / "clickhouse", port=ports.free_port())
    listeners = _listeners(broker, by_password, by_certificate, authority)

    def prepare() -> None:
        kafka.prepare(broker)
        with (broker.data_dir / "server.properties").open("a", encoding="ascii") as file:
            file.writelines(f"{name}={value}\n" for name, value in listeners.items())

    parts = embedded_parts(
        kafka_config=broker,
        registry_config=registry,
        clickhouse_config=clickhouse,
        logs=directory / "logs",
    )
    parts = tuple(
        replace(part, prepare=prepare, setup=lambda: _enrol(broker.bootstrap))
        if part.name == "kafka"
        else part
        for part in parts
    )
    with ExitStack() as running:
        running.enter_context(Supervisor(parts, lambda *_: None, run_dir=directory))
        fronts = {
            "registry": tls_front(
                _server(registry.url),
                authority.issue("registry"),
                of_a_registry,
                user=REGISTRY_USER,
                password=REGISTRY_PASSWORD,
            ),
            "clickhouse": tls_front(
                clickhouse.url,
                authority.issue("clickhouse"),
                of_clickhouse,
                user=CLICKHOUSE_USER,
                password=CLICKHOUSE_PASSWORD,
            ),
        }
        urls = {name: running.enter_context(front) for name, front in fronts.items()}
        made = Secured(
            environment={
                "HEADRACE_DATA_DIRECTORY": str(directory / "data"),
                "HEADRACE_KAFKA_BOOTSTRAP": by_password,
                "HEADRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "HEADRACE_KAFKA_SASL_USERNAME": USER,
                "HEADRACE_KAFKA_SASL_PASSWORD": PASSWORD,
                "HEADRACE_KAFKA_SSL_CA_LOCATION": str(authority.file),
                "HEADRACE_REGISTRY_URL": urls["registry"] + urlsplit(registry.url).path,
                "HEADRACE_REGISTRY_USER": REGISTRY_USER,
                "HEADRACE_REGISTRY_PASSWORD": REGISTRY_PASSWORD,
                "HEADRACE_REGISTRY_SSL_CA_LOCATION": str(authority.file),
                "HEADRACE_CLICKHOUSE_URL": urls["clickhouse"],
                "HEADRACE_CLICKHOUSE_USER": CLICKHOUSE_USER,
                "HEADRACE_CLICKHOUSE_PASSWORD": CLICKHOUSE_PASSWORD,
                "HEADRACE_CLICKHOUSE_SSL_CA_LOCATION": str(authority.file),
            },
            plain=broker.bootstrap,
            plain_urls={"registry": registry.url, "clickhouse": clickhouse.url},
            by_certificate=by_certificate,
            identity=identity,
        )
        prepare_external(made.settings)
        yield made


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _listeners(
    broker: BrokerConfig, by_password: str, by_certificate: str, authority: Authority
) -> dict[str, str]:
    """Settings that win over what stands before them in the file."""
    named = {
        "PLAINTEXT": broker.bootstrap,
        "SASL_SSL": by_password,
        "SSL": by_certificate,
    }
    advertised = ",".join(f"{name}://{address}" for name, address in named.items())
    settings = {
        "listeners": f"{advertised},CONTROLLER://127.0.0.1:{broker.controller_port}",
        "advertised.listeners": advertised,
        "listener.security.protocol.map": ",".join(
            ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in named)]
        ),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.ssl.ssl.client.auth": "required",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    for name in ("sasl_ssl", "ssl"):
        store = f"listener.name.{name}.ssl"
        settings |= {
            f"{store}.keystore.type": "PEM",
            f"{store}.keystore.location": str(authority.issue(f"broker-{name}").both),
            f"{store}.truststore.type": "PEM",
            f"{store}.truststore.location": str(authority.file),
        }
    return settings


def _enrol(bootstrap: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    enrolled: list[UserScramCredentialAlteration] = [
        UserScramCredentialUpsertion(user, info, PASSWORD.encode())
        for user in (USER, WITHOUT_RIGHTS)
    ]
    rights = [
        AclBinding(
            kind,
            "headrace",
            ResourcePatternType.PREFIXED,
            f"User:{user}",
            "*",
            AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        for user in (USER, f"CN={USER}")
        for kind in RIGHTS
    ]
    for done in admin.alter_user_scram_credentials(enrolled).values():
        done.result(30)
    for made in admin.create_acls(rights).values():
        made.result(30)
