"""Halted partitions, and letting them go on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from headrace.connectors.kafka import (
    HALTED,
    LOG_LOST,
    RESUMED,
    HaltLog,
    KafkaClientError,
    KafkaConfig,
    Offsets,
    Registry,
)
from headrace.infra.errors import LogUnavailable
from headrace.infra.settings import Settings
from headrace.schemas import Codec, Halt, RegistryUnavailable

DELIVERY_MS = 10_000  # a person waits for it


def halted_partitions(settings: Settings) -> list[Halt]:
    """Every partition that is halted now, for whichever consumer group.

    Raises:
        LogUnavailable: Kafka or the registry does not answer.
    """
    with _log(settings) as log:
        return _standing(log)


def resume(settings: Settings, halts: Sequence[Halt]) -> list[Halt]:
    """Let partitions go on; what a log has lost is given up. Returns what was written.

    The lost range ends where the log begins now, which may be later than when it was halted.

    Raises:
        LogUnavailable: Kafka or the registry does not answer.
    """
    with _log(settings) as log:
        lost = [(halt.topic, halt.partition) for halt in halts if halt.reason == LOG_LOST]
        starts = Offsets(_kafka(settings)).starts(lost)
        written = []
        for halt in halts:
            end = max(halt.end, starts.get((halt.topic, halt.partition), halt.end))
            written.append(replace(halt, state=RESUMED, end=end))
            log.write(written[-1])
        return written


@contextmanager
def _log(settings: Settings) -> Iterator[HaltLog]:
    registry = Registry(settings.registry_access)
    log = HaltLog(_kafka(settings), Codec(registry))
    try:
        yield log
    except (KafkaClientError, RegistryUnavailable) as error:
        raise LogUnavailable(str(error)) from error
    finally:
        log.close()
        registry.close()


def _kafka(settings: Settings) -> KafkaConfig:
    return settings.kafka_access.client("headrace-resume", delivery_timeout_ms=DELIVERY_MS)


def _standing(log: HaltLog) -> list[Halt]:
    halts = (halt for halt in log.read().values() if halt.state == HALTED)
    return sorted(halts, key=lambda halt: (halt.group, halt.topic, halt.partition))
