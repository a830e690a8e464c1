"""Tells how a worker fares: its heartbeat in a file, and the same as metrics."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.connectors.kafka import KafkaClientError, KafkaConfig
from headrace.connectors.kafka.lag import Lags
from headrace.connectors.kafka.letters import depths
from headrace.connectors.worker.heartbeat import write_heartbeat
from headrace.connectors.worker.insert_times import INSERTS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from headrace.connectors.metrics.server import MetricsServer

logger = logging.getLogger(__name__)

FOLDER = "metrics"
_FRESH_S = 5.0  # who asks more often hears of the same lag


@dataclass(kw_only=True, slots=True, frozen=True)
class Subscription:
    """What of Kafka a worker's metrics speak of."""

    kafka: KafkaConfig
    group: str
    topics: Sequence[str]
    dead_letters: bool = False
    """Whether it also tells how many records are dead letters."""


class Reporter:
    """One worker's.

    file: the heartbeat's; `metrics/<its name>` beside it says where the metrics are, once they are
    served.
    """

    def __init__(self, file: Path, *, part: str, subscription: Subscription | None = None) -> None:
        self._file = file
        self._part = part
        self._subscription = subscription
        self._lags = (
            None
            if subscription is None
            else Lags(subscription.kafka, subscription.group, subscription.topics)
        )
        self._lock = threading.Lock()
        self._report: Mapping[str, Any] = {}
        self._asked: list[Metric] = []
        self._asked_at = float("-inf")
        self._server: MetricsServer | None = None

    def serve(self) -> None:
        """Serve the metrics until `close`; without prometheus-client there are none."""
        try:
            from prometheus_client import CollectorRegistry

            from headrace.connectors.metrics.server import MetricsServer

            registry = CollectorRegistry()
            registry.register(self)
            targets = self._file.parent / FOLDER / self._file.name
            self._server = MetricsServer(registry, part=self._part, targets=targets)
        except (ImportError, OSError) as error:
            logger.warning("%s serves no metrics: %s", self._part, error)

    def close(self) -> None:
        """Serve them no more."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def tell(self, report: Mapping[str, Any]) -> None:
        """Replace what was reported before. A full disk is no reason to stop working."""
        self._report = report
        where = {"metrics": self._server.url} if self._server else {}
        try:
            write_heartbeat(self._file, {**report, **where})
        except OSError as error:
            logger.warning("%s cannot tell how it fares: %s", self._part, error)

    def collect(self) -> "Iterator[Metric]":
        """All metrics, as they are when somebody asks."""
        from headrace.connectors.metrics import collect

        yield from collect.of_report(self._part, self._report)
        yield from collect.of_inserts(self._part, INSERTS.tables())
        with self._lock:
            if time.monotonic() - self._asked_at >= _FRESH_S:
                self._asked = self._of_kafka()
                self._asked_at = time.monotonic()
            yield from self._asked

    def _of_kafka(self) -> "list[Metric]":
        """What the broker says; nothing while it is away."""
        from headrace.connectors.metrics import collect

        if self._lags is None or self._subscription is None:
            return []
        try:
            found = list(collect.of_lags(self._part, self._subscription.group, self._lags.ask()))
            if self._subscription.dead_letters:
                found += collect.of_dead_letters(self._part, depths(self._subscription.kafka))
        except KafkaClientError as error:
            logger.debug("no lag: %s", error)
            return []
        return found
