"""What librdkafka says, in our words: through our logger, and once for each state.

A client of a broker that is away writes the same line twenty times a second, and a process has
several clients. Its own lines are there too, for whoever sets the logger to DEBUG.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from headrace.connectors.kafka.failures import Failure, failure_in

client_logger = logging.getLogger("headrace.connectors.kafka.client")
"""Where librdkafka's own lines go, instead of standard error."""

STATE_S = 60.0
"""A state is over when nothing was said of it for so long (librdkafka repeats itself within 30)."""
_LASTS_S = 10.0

_CODES = {
    KafkaError._ALL_BROKERS_DOWN: "no broker answers",
    KafkaError._TRANSPORT: "no broker answers",
    KafkaError._TIMED_OUT: "no broker answers in time",
    KafkaError._TIMED_OUT_QUEUE: "no broker answers in time",
    KafkaError._MSG_TIMED_OUT: "no broker took it in time",
    KafkaError._RESOLVE: "the name of no broker can be resolved",
    KafkaError._AUTHENTICATION: "the broker does not accept our credentials",
    KafkaError._SSL: "TLS with the broker fails",
    KafkaError._PURGE_QUEUE: "it was given up when the client closed",
    KafkaError._PURGE_INFLIGHT: "it was given up when the client closed",
}
_AWAY = ("FAIL", "ERROR", "CONNECT", "BROKERFAIL")


def in_words(error: KafkaError | KafkaException | None) -> str:
    """A client's error for a person, without what librdkafka writes around it."""
    if isinstance(error, KafkaException):
        error = error.args[0] if error.args else None
    if not isinstance(error, KafkaError):
        return "unknown error" if error is None else str(error)
    if error.code() in _CODES:
        return _CODES[error.code()]
    return error.str().removeprefix("Local: ").removeprefix("Broker: ")


class ClientLog:
    """librdkafka's `logger` for the clients of one cluster. Safe to share between threads."""

    def __init__(self, bootstrap: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._bootstrap = bootstrap
        self._clock = clock
        self._lock = threading.Lock()
        self._heard: dict[str, float] = {}
        self._failed: Failure | None = None
        self._failed_at = 0.0

    def log(self, level: int, _form: str, facility: str, client: str, line: str) -> None:
        """Take in a line; called by confluent-kafka in the place of `logging.Logger.log`."""
        client_logger.debug("%s [%s] %s", facility, client, line)
        if facility in _AWAY:
            failure = failure_in(line)
            self._keep(failure)
            told = str(failure) if failure.lasts else failure.words
            words = f"Kafka at {self._bootstrap}: {told}; trying on until it answers"
        else:
            words = f"Kafka at {self._bootstrap}: {line.rpartition(']: ')[2]}"
        if self._is_news(words if facility in _AWAY else facility):
            client_logger.log(level if facility not in _AWAY else logging.WARNING, "%s", words)

    def failure(self, within_s: float = STATE_S) -> Failure | None:
        """What went wrong last between our clients and a broker; None if that is longer ago."""
        with self._lock:
            return self._failed if self._clock() - self._failed_at <= within_s else None

    def _keep(self, failure: Failure) -> None:
        with self._lock:
            now, before = self._clock(), self._failed
            # A refusal has a second line that only says that the connection ended.
            if before and before.lasts and not failure.lasts and now - self._failed_at < _LASTS_S:
                return
            self._failed, self._failed_at = failure, now

    def _is_news(self, state: str) -> bool:
        with self._lock:
            now = self._clock()
            before = self._heard.get(state, float("-inf"))
            self._heard[state] = now
            return now - before > STATE_S


_logs: dict[tuple[str, int], ClientLog] = {}
_making = threading.Lock()


def client_log(bootstrap: str, entry: Mapping[str, Any]) -> ClientLog:
    """The one log of this process for the clients of a cluster that enter it in one way.

    entry: librdkafka's settings of security; kept as their hash alone.
    """
    key = bootstrap, hash(frozenset((name, str(value)) for name, value in entry.items()))
    with _making:
        return _logs.setdefault(key, ClientLog(bootstrap))
