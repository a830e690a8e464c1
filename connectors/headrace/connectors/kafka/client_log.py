"""What librdkafka says, in our words: through our logger, and once for each state.

A client of a broker that is away writes the same line twenty times a second, and a process has
several clients. Its own lines are there too, for whoever sets the logger to DEBUG.
"""

import logging
import threading
import time
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

client_logger = logging.getLogger("headrace.connectors.kafka.client")
"""Where librdkafka's own lines go, instead of standard error."""

STATE_S = 60.0
"""A state is over when nothing was said of it for so long (librdkafka repeats itself within 30)."""

_REASONS = (
    ("refused", "it refuses connections"),
    ("resolve", "its name cannot be resolved"),
    ("SASL", "it does not accept our credentials"),
    ("uthentication", "it does not accept our credentials"),
    ("SSL", "TLS with it fails"),
    ("timed out", "it does not answer in time"),
    ("timeout", "it does not answer in time"),
    ("isconnected", "it closed the connection"),
    ("reset", "it closed the connection"),
    ("unreachable", "there is no way to it"),
    ("transport failure", "it does not answer"),
)
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

    def log(self, level: int, _form: str, facility: str, client: str, line: str) -> None:
        """Take in a line; called by confluent-kafka in the place of `logging.Logger.log`."""
        client_logger.debug("%s [%s] %s", facility, client, line)
        if facility in _AWAY:
            words = f"Kafka at {self._bootstrap}: {_reason(line)}; trying on until it answers"
        else:
            words = f"Kafka at {self._bootstrap}: {line.rpartition(']: ')[2]}"
        if self._is_news(words if facility in _AWAY else facility):
            client_logger.log(level if facility not in _AWAY else logging.WARNING, "%s", words)

    def _is_news(self, state: str) -> bool:
        with self._lock:
            now = self._clock()
            before = self._heard.get(state, float("-inf"))
            self._heard[state] = now
            return now - before > STATE_S


_logs: dict[str, ClientLog] = {}
_making = threading.Lock()


def client_log(bootstrap: str) -> ClientLog:
    """The one log of this process for the clients of a cluster."""
    with _making:
        return _logs.setdefault(bootstrap, ClientLog(bootstrap))


def _reason(line: str) -> str:
    return next((words for sign, words in _REASONS if sign in line), "a broker does not answer")
