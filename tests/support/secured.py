"""Real parts whose broker asks for SASL/SCRAM over TLS; its plain listener is the registry's."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

# Public names, but not in an __all__.
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headrace.infra.embedded import (
    BrokerConfig,
    ClickHouseServerConfig,
    RegistryConfig,
    embedded_parts,
    kafka,
    ports,
)
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import Supervisor

USER, PASSWORD = "agent", "hush-hush"


@contextmanager
def secured_stack(directory: Path) -> Iterator[Settings]:
    """Settings for a running broker (SASL_SSL), registry and ClickHouse."""
    directory.mkdir(parents=True, exist_ok=True)
    authority, identity = directory / "ca.pem", directory / "broker.pem"
    _certify(authority, identity)
    broker = BrokerConfig(
        data_dir=directory / "kafka", port=ports.free_port(), controller_port=ports.free_port()
    )
    secured = f"127.0.0.1:{ports.free_port()}"
    registry = RegistryConfig(bootstrap=broker.bootstrap, port=ports.free_port())
    clickhouse = ClickHouseServerConfig(data_dir=directory / "clickhouse", port=ports.free_port())

    def prepare() -> None:
        kafka.prepare(broker)
        with (broker.data_dir / "server.properties").open("a", encoding="ascii") as file:
            file.writelines(
                f"{name}={value}\n" for name, value in _listener(broker, secured, identity).items()
            )

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
    with Supervisor(parts, lambda part, state, message: None, run_dir=directory):
        yield load(
            environment={
                "HEADRACE_DATA_DIRECTORY": str(directory / "data"),
                "HEADRACE_KAFKA_BOOTSTRAP": secured,
                "HEADRACE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "HEADRACE_KAFKA_SASL_USERNAME": USER,
                "HEADRACE_KAFKA_SASL_PASSWORD": PASSWORD,
                "HEADRACE_KAFKA_SSL_CA_LOCATION": str(authority),
                "HEADRACE_REGISTRY_URL": registry.url,
                "HEADRACE_CLICKHOUSE_URL": clickhouse.url,
            }
        )


def _listener(broker: BrokerConfig, secured: str, identity: Path) -> dict[str, str]:
    """Settings that win over what stands before them in the file."""
    plain = f"PLAINTEXT://{broker.bootstrap}"
    controller = f"CONTROLLER://127.0.0.1:{broker.controller_port}"
    name = "listener.name.sasl_ssl"
    return {
        "listeners": f"{plain},SASL_SSL://{secured},{controller}",
        "advertised.listeners": f"{plain},SASL_SSL://{secured}",
        "listener.security.protocol.map": (
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL"
        ),
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{name}.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        f"{name}.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        f"{name}.ssl.keystore.type": "PEM",
        f"{name}.ssl.keystore.location": str(identity),
    }


def _enrol(bootstrap: str) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(USER, info, PASSWORD.encode())
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for done in admin.alter_user_scram_credentials([change]).values():
        done.result(30)


def _certify(authority: Path, identity: Path) -> None:
    """A certificate for 127.0.0.1 that is its own authority, and the broker's key with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "headrace test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    authority.write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    identity.write_bytes(private + pem)
