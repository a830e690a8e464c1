"""The registry as a part: the Confluent API on loopback, its schemas kept in Kafka."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from headrace.connectors.kafka.registry import COMPATIBILITY, registry_client
from headrace.infra.embedded import jvm, ports, probe
from headrace.infra.embedded.artifacts import Progress, ensure_registry
from headrace.infra.settings import REGISTRY_PATH


@dataclass(kw_only=True, slots=True, frozen=True)
class RegistryConfig:
    """Configuration of the embedded registry."""

    bootstrap: str
    """The broker that keeps the schemas, "host:port"."""
    port: int = 8081
    """Port of its HTTP interface."""
    heap_mb: int = 256
    """Heap of the JVM."""

    def __post_init__(self) -> None:
        ports.check_port(self.port, "[registry] port")
        jvm.check_heap(self.heap_mb, "heap_mb of the embedded registry", 128)

    @property
    def url(self) -> str:
        """The URL for Confluent's clients."""
        return f"http://{ports.LOOPBACK}:{self.port}{REGISTRY_PATH}"


def prepare(config: RegistryConfig, progress: Progress | None = None) -> None:
    """Fetch the registry if need be and check its port.

    Raises:
        SetupError: the download failed.
        PortInUse: its port is taken.
    """
    ensure_registry(progress)
    ports.ensure_free(config.port, "the schema registry", "[registry] port")


def command(config: RegistryConfig) -> list[str]:
    """Return the command line that runs the registry and its front."""
    module = [sys.executable, "-m", "headrace.infra.embedded.registry"]
    where = ["--bootstrap", config.bootstrap, "--port", str(config.port)]
    return [*module, *where, "--heap-mb", str(config.heap_mb)]


def is_ready(url: str) -> bool:
    """Say whether a registry answers at its Confluent URL."""
    return probe.get(f"{url}/subjects") is not None


def configure(url: str) -> None:
    """Set the global compatibility to FULL_TRANSITIVE (Apicurio's own default is NONE).

    Raises:
        SchemaRegistryError: the registry refused.
    """
    with registry_client(url) as client:
        client.set_compatibility(level=COMPATIBILITY)
