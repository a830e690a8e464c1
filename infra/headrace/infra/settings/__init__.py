"""Settings: one file (`headrace.toml`), overridden by environment variables, a section a part."""

from headrace.infra.settings.reading import FILE_NAME, load
from headrace.infra.settings.sections import (
    REGISTRY_PATH,
    ClickHouseSettings,
    DataSettings,
    KafkaSettings,
    RegistrySettings,
    Settings,
)

__all__ = [
    "FILE_NAME",
    "REGISTRY_PATH",
    "ClickHouseSettings",
    "DataSettings",
    "KafkaSettings",
    "RegistrySettings",
    "Settings",
    "load",
]
