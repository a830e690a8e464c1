"""Each kind of client is made in one place, which enters by the settings. Nobody else imports one.

A client that is made by hand works on loopback and forgets the user's password, authority or proxy.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("schemas", "kernels", "connectors", "streams", "trainer", "infra", "examples")
CONNECTORS, EMBEDDED = "connectors/headrace/connectors", "infra/headrace/infra/embedded"

_KAFKA = ["Producer", "Consumer", "ShareConsumer", "SerializingProducer", "DeserializingConsumer"]
CLIENTS = {
    "Kafka": {
        *(f"confluent_kafka.{name}" for name in _KAFKA),
        "confluent_kafka.admin.AdminClient",
        "confluent_kafka.aio",
        "confluent_kafka.cimpl",
        "aiokafka",
        "faust",
    },
    "registry": {"confluent_kafka.schema_registry"},
    "ClickHouse": {"clickhouse_connect", "clickhouse_driver", "chdb"},
    "HTTP": {"httpx2", "httpx", "requests", "aiohttp", "urllib3", "urllib.request", "http.client"},
}
ERRORS = {"confluent_kafka.schema_registry.error", "urllib3.exceptions"}
MAKERS = {
    "Kafka": {
        f"{CONNECTORS}/kafka/clients.py": "all of librdkafka's",
        f"{EMBEDDED}/kafka.py": "asks the embedded broker alone, which is plain and on loopback",
        "streams/headrace/streams/host/faust.py": "Faust's own, with its credentials",
        "streams/headrace/streams/host/fetching.py": "how that one fetches",
    },
    "registry": {f"{CONNECTORS}/kafka/registry.py": "all of Confluent's"},
    "ClickHouse": {
        f"{CONNECTORS}/clickhouse/client.py": "all of clickhouse-connect's",
        f"{EMBEDDED}/clickhouse/engine.py": "the embedded engine itself",
    },
    "HTTP": {
        f"{CONNECTORS}/kafka/registry.py": "the session of the registry's client",
        f"{CONNECTORS}/clickhouse/client.py": "the pool of ClickHouse's client",
        f"{CONNECTORS}/engines/": "engines: a vLLM server, an upstream",
        f"{EMBEDDED}/": "the embedded parts, on loopback",
        "examples/drift/users.py": "a user's browser, which hands feedback to the gateway",
        "infra/headrace/infra/console/gateway.py": "hands feedback to the gateway",
        "infra/headrace/infra/launch/watching.py": "asks a gateway whether it is one",
    },
}


class Imports(ast.NodeVisitor):
    """The full names that a module imports when it runs."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        is_for_types = ast.unparse(node.test).endswith("TYPE_CHECKING")
        for each in node.orelse if is_for_types else [node.test, *node.body, *node.orelse]:
            self.visit(each)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.names.add(alias.name)
            if alias.asname is None:  # `import a.b` binds a
                self.names.add(alias.name.partition(".")[0])

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.names |= {f"{node.module}.{alias.name}".removesuffix(".*") for alias in node.names}

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func).endswith(("import_module", "__import__")):
            given = [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
            self.names |= {name for name in given if isinstance(name, str)}
        self.generic_visit(node)


def imported(source: str) -> set[str]:
    imports = Imports()
    imports.visit(ast.parse(source))
    return imports.names


def clients_in(source: str, kind: str) -> set[str]:
    """What a module imports of this kind of client: one of them, or a module that has one."""
    return {
        name
        for name in imported(source)
        if any(
            f"{name}.".startswith(f"{client}.") or client.startswith(f"{name}.")
            for client in CLIENTS[kind]
        )
        and not any(name.startswith(errors) for errors in ERRORS)
    }


def modules() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_is_made_in_its_one_place(kind: str) -> None:
    makers = MAKERS[kind]
    found = {path: names for path, source in modules() if (names := clients_in(source, kind))}
    strangers = {path: names for path, names in found.items() if not path.startswith(tuple(makers))}
    assert not strangers, "take the client from headrace.connectors.kafka or .clickhouse"
    unused = [maker for maker in makers if not any(path.startswith(maker) for path in found)]
    assert not unused, "these make none any more: strike them out"


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("Kafka", "from confluent_kafka import KafkaError, Producer"),
        ("Kafka", "def f():\n    from confluent_kafka.admin import AdminClient"),
        ("Kafka", "import aiokafka.producer"),
        ("Kafka", "import confluent_kafka\nconfluent_kafka.Producer({})"),
        ("Kafka", "import confluent_kafka as kafka"),
        ("Kafka", "import confluent_kafka.admin"),
        ("Kafka", "from confluent_kafka import admin"),
        ("Kafka", "from confluent_kafka import *"),
        ("Kafka", "from importlib import import_module\nimport_module('confluent_kafka')"),
        ("Kafka", "if TYPE_CHECKING:\n    pass\nelse:\n    import aiokafka"),
        ("registry", "from confluent_kafka.schema_registry import SchemaRegistryClient as S"),
        ("ClickHouse", "import clickhouse_connect"),
        ("HTTP", "from urllib import request"),
        ("HTTP", "import urllib"),
    ],
)
def test_a_client_made_by_hand_would_be_found(kind: str, source: str) -> None:
    assert clients_in(source, kind)
    assert not clients_in("from confluent_kafka import KafkaError, TopicPartition", kind)
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import aiokafka, httpx2"
    assert not clients_in(hidden, kind)
