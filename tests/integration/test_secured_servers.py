"""A registry and a ClickHouse that ask for a user over TLS: who is let in, what others are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, ClickHouseUnavailable
from headrace.connectors.kafka import Registry, RegistryAccess
from headrace.schemas import RegistryUnavailable, UnknownSchemaId
from headrace.schemas.topics import Topic
from tests.support.certificates import Authority
from tests.support.secured import SECRETS, Secured

UNTRUSTED = r"its certificate is not trusted \(.+\); check \[{section}\] url and ssl_ca_location"


@contextmanager
def registry_of(access: RegistryAccess) -> Iterator[Registry]:
    registry = Registry(access, **{"max.retries": 0})
    try:
        yield registry
    finally:
        registry.close()


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An authority that signed none of the servers' certificates."""
    return str(Authority(tmp_path_factory.mktemp("stranger")).file)


def changed(access: Any, stranger: str, changes: dict[str, str]) -> Any:
    """The access with other values; `stranger` stands for that authority, `http` for the scheme."""
    values = {key: stranger if value == "stranger" else value for key, value in changes.items()}
    if values.get("url") == "http":
        values["url"] = access.url.replace("https:", "http:")
    return replace(access, **values)


def test_a_registry_lets_in_whom_it_knows(secured: Secured) -> None:
    with registry_of(secured.settings.registry_access) as registry:
        assert registry.schema_id(Topic.SPANS) > 0
        assert f"{Topic.SPANS}-value" in registry.subjects()
        with pytest.raises(UnknownSchemaId):
            registry.writer_schema(999_999)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"password": "guessed"}, r"does not let user schemas in: check \[registry\] user and"),
        ({"user": "", "password": ""}, r"does not let whoever names no user in: check \[registry"),
        ({"ssl_ca_location": ""}, UNTRUSTED.format(section="registry")),
        ({"ssl_ca_location": "stranger"}, UNTRUSTED.format(section="registry")),
        ({"url": "http"}, "no answer from the schema registry"),
    ],
)
def test_a_registry_says_of_others_what_to_look_at(
    secured: Secured, stranger: str, changes: dict[str, str], told: str
) -> None:
    access = changed(secured.settings.registry_access, stranger, changes)
    with registry_of(access) as registry:
        for ask in (
            lambda: registry.schema_id(Topic.SPANS),
            lambda: registry.writer_schema(1),
            registry.subjects,
        ):
            with pytest.raises(RegistryUnavailable, match=told) as refused:
                ask()
            assert access.url in str(refused.value)
            assert not [secret for secret in SECRETS if secret in str(refused.value)]


def test_clickhouse_lets_in_whom_it_knows(secured: Secured) -> None:
    client = ClickHouse(secured.settings.clickhouse_config)
    client.command("CREATE TABLE IF NOT EXISTS entered (n UInt64) ENGINE = MergeTree ORDER BY n")
    assert client.insert_arrow("entered", pa.table({"n": pa.array([7], pa.uint64())})) == 1
    assert client.query("SELECT n FROM entered") == [{"n": 7}]
    assert client.query_arrow("SELECT n FROM entered").to_pydict() == {"n": [7]}
    assert re.match(r"\d+\.", client.version())
    client.command("DROP TABLE entered")
    client.close()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"password": "guessed"}, r"does not let user tables in: check \[clickhouse\] user and"),
        ({"password": ""}, r"does not let user tables in: check \[clickhouse\] user and password"),
        ({"user": "nobody"}, r"does not let user nobody in: check \[clickhouse\] user and"),
        ({"ssl_ca_location": ""}, UNTRUSTED.format(section="clickhouse")),
        ({"ssl_ca_location": "stranger"}, UNTRUSTED.format(section="clickhouse")),
        ({"url": "http"}, "no answer from ClickHouse"),
    ],
)
def test_clickhouse_says_of_others_what_to_look_at(
    secured: Secured, stranger: str, changes: dict[str, str], told: str
) -> None:
    config: ClickHouseConfig = changed(secured.settings.clickhouse_config, stranger, changes)
    client = ClickHouse(config)
    for ask in (lambda: client.query("SELECT 1"), client.version, client.ensure_database):
        with pytest.raises(ClickHouseUnavailable, match=told) as refused:
            ask()
        assert config.url in str(refused.value)
        assert not [secret for secret in SECRETS if secret in str(refused.value)]
    client.close()


@pytest.mark.parametrize("server", ["registry", "clickhouse"])
def test_a_plain_server_that_is_spoken_to_by_https_is_told_to_be_one(
    secured: Secured, server: str
) -> None:
    url = secured.plain_urls[server].replace("http:", "https:")
    if server == "registry":
        with (
            registry_of(RegistryAccess(url=url)) as registry,
            pytest.raises(
                RegistryUnavailable, match=r"TLS with it fails \(.+\); check \[registry\] url"
            ),
        ):
            registry.subjects()
    else:
        client = ClickHouse(ClickHouseConfig(url=url))
        with pytest.raises(ClickHouseUnavailable, match=r"TLS with it fails \(.+\); check"):
            client.query("SELECT 1")
        client.close()
