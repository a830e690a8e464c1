"""Configuration of the SDK."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headrace.connectors.kafka import KafkaAccess, RegistryAccess, security_settings
from headrace.connectors.privacy import Hidden, PrivacySettings
from headrace.connectors.privacy.switches import hidden_by


@dataclass(kw_only=True, slots=True, frozen=True)
class SdkConfig:
    """Where spans go and how they are gathered on the way."""

    bootstrap: str
    """Kafka brokers, "host:port" separated by commas."""
    registry_url: str
    """Schema registry (Confluent API)."""
    spool_directory: Path | None = None
    """Folder for sealed batches that Kafka does not have yet. Several processes may name the
    same one: each keeps a locked folder of its own inside. None: no spool, so what Kafka does
    not have when the process ends is lost."""
    project: str = "default"
    """Project of spans that name no other."""
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    """What of texts and tokens leaves this process."""
    hidden: frozenset[Hidden] = field(default_factory=lambda: hidden_by(os.environ))
    """What OpenTelemetry's and OpenInference's switches hide in this process's environment."""
    seal_spans: int = 128
    """Spans of one partition that seal a batch."""
    seal_bytes: int = 256_000
    """Approximate bytes that seal a batch."""
    seal_ms: int = 100
    """Age of its first span that seals a batch."""
    durable_seal_ms: int = 5
    """Pause between the batches of a partition that somebody waits for; the first goes at once."""
    broker_patience_ms: int = 1000
    """How long a durable emit waits for Kafka before a spooled batch is enough for it."""
    memory_bytes: int = 64_000_000
    """What may wait in memory; beyond it spans are dropped and counted."""
    spool_bytes: int = 2_000_000_000
    """What may wait in the spool; beyond it batches wait in memory only."""
    fsync: Literal["never", "batch"] = "never"
    """`never` survives the process, `batch` also a power cut (a disk write for each batch)."""
    text_bytes: int = 1_000_000
    """Longer texts of a span are cut, and counted."""
    close_timeout_s: float = 5.0
    """How long closing (and the end of the process) waits for Kafka."""
    kafka: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further librdkafka settings (security.protocol, sasl.*, …)."""
    registry: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Further settings of Confluent's registry client (basic.auth.user.info, …)."""

    def __post_init__(self) -> None:
        least = {
            "seal_spans": 1,
            "seal_bytes": 1,
            "seal_ms": 1,
            "durable_seal_ms": 0,
            "broker_patience_ms": 1,
            "memory_bytes": 1_000,
            "spool_bytes": 1_000,
            "text_bytes": 100,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"SdkConfig.{name} is {getattr(self, name)}: use {bound} or more")
        if self.seal_spans > 10_000:
            raise ValueError(f"SdkConfig.seal_spans is {self.seal_spans}: use 10000 or less")
        if self.text_bytes > 2_000_000:
            raise ValueError(
                f"SdkConfig.text_bytes is {self.text_bytes}: use 2000000 or less, "
                "or a record may outgrow Kafka's limit of 8 MiB"
            )


def sdk_config(
    kafka: KafkaAccess, registry: RegistryAccess, privacy: PrivacySettings, **settings: Any
) -> SdkConfig:
    """The SDK's configuration under the sections `[kafka]`, `[registry]` and `[privacy]`."""
    return SdkConfig(
        bootstrap=kafka.bootstrap,
        registry_url=registry.url,
        kafka=security_settings(kafka),
        registry=registry.client_settings(),
        privacy=privacy,
        **settings,
    )
