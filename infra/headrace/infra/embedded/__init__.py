"""Apache Kafka, the schema registry and the ClickHouse engine, run from packages alone."""

from headrace.infra.embedded.clickhouse.part import ClickHouseServerConfig
from headrace.infra.embedded.kafka import BrokerConfig
from headrace.infra.embedded.registry import RegistryConfig
from headrace.infra.embedded.stack import Stack, embedded_parts, running_stack

__all__ = [
    "BrokerConfig",
    "ClickHouseServerConfig",
    "RegistryConfig",
    "Stack",
    "embedded_parts",
    "running_stack",
]
