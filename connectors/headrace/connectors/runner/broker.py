"""Whether a broker answers, reported once each time that changes."""

import logging
import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import KafkaError

from headrace.connectors.kafka import KafkaConfig, why

logger = logging.getLogger(__name__)

ASK_EVERY_S = 1.0


class BrokerWatch:
    """Hears from a Kafka client that no broker answers, and asks until one does again.

    `heard` is the client's `error_cb`. Not for sharing between threads: both are called by the
    thread that polls.
    """

    def __init__(self, config: KafkaConfig, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.away = False
        """Whether no broker answers now."""
        self._config = config
        self._clock = clock
        self._asked = 0.0

    def heard(self, error: KafkaError) -> None:
        """Take in an error of the client; those that one broker of several has are its own."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self.away:
            return
        self.away, self._asked = True, self._clock()
        logger.error(
            "Kafka at %s does not answer: %s",
            self._config.bootstrap,
            why(self._config, error),
        )

    def ask(self, answers: Callable[[], Any]) -> None:
        """Once a second while none answers: `answers` raises if there is still none."""
        if not self.away or self._clock() - self._asked < ASK_EVERY_S:
            return
        self._asked = self._clock()
        try:
            answers()
        except Exception as error:  # whatever it raises is no answer
            logger.debug("still no answer: %s", error)
            return
        self.away = False
        logger.warning("Kafka at %s answers", self._config.bootstrap)
