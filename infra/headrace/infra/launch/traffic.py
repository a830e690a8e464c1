"""Saying which versions of a policy are served: a record on `headrace.policies`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.connectors.kafka import (
    KafkaClientError,
    Outgoing,
    Registry,
    Tailer,
    Writer,
)
from headrace.infra.errors import LogUnavailable
from headrace.infra.settings import Settings
from headrace.schemas import (
    Codec,
    PolicyRecord,
    RegistryUnavailable,
    Traffic,
    TrafficShare,
    from_avro,
    to_avro,
)
from headrace.schemas.topics import Topic

DELIVERY_MS = 10_000  # a person waits for it


@dataclass(kw_only=True, slots=True)
class Served:
    """What the log says of a policy's versions."""

    versions: list[int] = field(default_factory=list)
    traffic: Traffic


def served(settings: Settings, policy: str) -> Served:
    """Read the versions of a policy, and its traffic; raises LogUnavailable."""
    registry = Registry(settings.registry_access)
    codec = Codec(registry)
    found = Served(traffic=Traffic(policy=policy))
    try:
        kafka = settings.kafka_access.client("headrace-traffic")
        tailer = Tailer(kafka, [Topic.POLICIES], name="headrace.traffic")
        try:
            while not tailer.caught_up:
                for message in tailer.read(0.2):
                    record = from_avro(PolicyRecord, codec.decode(Topic.POLICIES, message.value))
                    _take(found, record)
        finally:
            tailer.close()
    except (KafkaClientError, RegistryUnavailable) as error:
        raise LogUnavailable(f"{error}. Check with `headrace status`") from error
    finally:
        registry.close()
    return found


def direct(settings: Settings, policy: str, version: int, shares: Mapping[int, float]) -> Traffic:
    """Say which version the policy's name means (-1: the newest), and who gets another.

    Raises:
        LogUnavailable: Kafka or the registry does not answer.
    """
    traffic = Traffic(
        policy=policy,
        version=version,
        shares=[TrafficShare(version=one, share=share) for one, share in sorted(shares.items())],
    )
    registry = Registry(settings.registry_access)
    writer = Writer(
        settings.kafka_access.client("headrace-traffic", delivery_timeout_ms=DELIVERY_MS)
    )
    try:
        value = Codec(registry).encode(Topic.POLICIES, to_avro(PolicyRecord(traffic=traffic)))
        writer.send(
            [Outgoing(topic=Topic.POLICIES, key=f"{policy}/traffic", value=value, partition=0)]
        )
    except (KafkaClientError, RegistryUnavailable) as error:
        raise LogUnavailable(f"{error}. Check with `headrace status`") from error
    finally:
        writer.close()
        registry.close()
    return traffic


def _take(found: Served, record: PolicyRecord) -> None:
    version, traffic = record.version, record.traffic
    if version is not None and version.policy == found.traffic.policy:
        found.versions.append(version.version)
    elif traffic is not None and traffic.policy == found.traffic.policy:
        found.traffic = traffic
    elif (pruned := record.pruned) is not None and pruned.policy == found.traffic.policy:
        found.versions = [one for one in found.versions if one != pruned.version]
