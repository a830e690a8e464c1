"""Whether the servers that the settings name let us in, and what is there of ours."""

from collections.abc import Callable

from headrace.connectors.clickhouse import ClickHouse
from headrace.connectors.kafka import Registry
from headrace.connectors.kafka.topics import TOPICS, topics_of
from headrace.infra.settings import Settings

EMBEDDED = "embedded, `headrace up` starts it"
_ASK_S = 5.0


def kafka(settings: Settings) -> str:
    """What the broker says; raises Unavailable."""
    if not settings.kafka.bootstrap:
        return EMBEDDED
    found = topics_of(settings.kafka_access.client("headrace-doctor"), _ASK_S)
    lacking = len(TOPICS) - len(found)
    rest = f"; `headrace up` makes the {lacking} topics that are missing" if lacking else ""
    return f"{settings.bootstrap} ({settings.kafka.security_protocol}) lets us in{rest}"


def registry(settings: Settings) -> str:
    """What the registry says; raises Unavailable."""
    if not settings.registry.url:
        return EMBEDDED
    asked = Registry(settings.registry_access, **{"max.retries": 0, "timeout": _ASK_S})
    try:
        asked.subjects()
    finally:
        asked.close()
    return f"{settings.registry_url} lets us in"


def clickhouse(settings: Settings) -> str:
    """What ClickHouse says; raises Unavailable."""
    if not settings.clickhouse.url:
        return EMBEDDED
    client = ClickHouse(settings.clickhouse_config)
    try:
        return f"{settings.clickhouse_url} lets us in, version {client.version()}"
    finally:
        client.close()


SERVERS: dict[str, Callable[[Settings], str]] = {
    "kafka": kafka,
    "registry": registry,
    "clickhouse": clickhouse,
}
