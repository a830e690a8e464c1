"""Apicurio's process, where only the front finds it."""

from __future__ import annotations

import secrets
import socket
import sys

from headrace.infra.embedded import jvm, ports
from headrace.infra.embedded.artifacts import ensure_registry
from headrace.infra.embedded.registry.part import RegistryConfig


def hidden_address() -> tuple[str, int]:
    """Return a loopback address and a free port there that no web page can guess.

    All of 127.0.0.0/8 is loopback on Linux: 24 random bits and those of the port. Elsewhere it is
    the port alone.
    """
    host = ports.LOOPBACK
    if sys.platform == "linux":
        host = ".".join(["127", *(str(secrets.choice(range(1, 255))) for _ in range(3))])
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return host, port


def command(config: RegistryConfig, host: str, port: int) -> list[str]:
    """Return the command line of the registry itself, listening on `host` and `port`."""
    return [
        str(jvm.java()),
        *jvm.flags(config.heap_mb),
        f"-Dquarkus.http.host={host}",
        f"-Dquarkus.http.port={port}",
        # Its management interface would listen on all addresses, port 9000; nothing uses it.
        f"-Dquarkus.management.host={host}",
        "-Dquarkus.management.port=0",
        "-Dquarkus.http.access-log.enabled=false",
        "-Dquarkus.log.level=WARN",
        '-Dquarkus.log.category."io.apicurio".level=WARN',
        "-Dapicurio.storage.kind=kafkasql",
        f"-Dapicurio.kafkasql.bootstrap.servers={config.bootstrap}",
        # A start sits out several empty polls of 5 s by default: 28 s instead of 7 s. Without
        # snapshots a start replays the whole journal, which is kept for ever.
        "-Dapicurio.kafkasql.consumer.poll.timeout=200",
        "-Dapicurio.kafkasql.snapshot.scheduled.enabled=false",
        "-jar",
        str(ensure_registry() / "quarkus-run.jar"),
    ]
