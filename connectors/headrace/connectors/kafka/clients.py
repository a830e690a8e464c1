"""librdkafka's clients as the settings say, and why a cluster did not do what they asked.

A client says why a broker turned it away in its log alone; what it raises is a time-out.
"""

from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from headrace.connectors.kafka.client_log import in_words
from headrace.connectors.kafka.config import (
    KafkaConfig,
    admin_settings,
    consumer_settings,
    log_of,
    producer_settings,
)
from headrace.connectors.kafka.failures import RUNS
from headrace.connectors.kafka.interrupts import held_back

_AWAY = (
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._TIMED_OUT,
    KafkaError._TIMED_OUT_QUEUE,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._RESOLVE,
    KafkaError._AUTHENTICATION,
    KafkaError._SSL,
)
FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "this consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the cluster itself",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "this transactional id",
}
"""What a user may not use, by the broker's code."""


def make_admin(config: KafkaConfig) -> AdminClient:
    """A client that asks and changes the cluster."""
    with held_back():
        return AdminClient(admin_settings(config))


def make_producer(config: KafkaConfig, **overrides: Any) -> Producer:
    """A producer; see `producer_settings`."""
    with held_back():
        return Producer(producer_settings(config, **overrides))


def make_consumer(
    config: KafkaConfig,
    *,
    group: str,
    on_error: Callable[[KafkaError], None] | None = None,
    **overrides: Any,
) -> Consumer:
    """A consumer; see `consumer_settings`. `on_error` hears what it tells of the cluster."""
    heard = {} if on_error is None else {"error_cb": on_error}
    with held_back():
        return Consumer(consumer_settings(config, group=group, **overrides) | heard)


def is_refused(config: KafkaConfig, within_s: float) -> bool:
    """Whether a broker turned us away in so many last seconds, and not only for the moment."""
    failure = log_of(config).failure(within_s)
    return failure is not None and failure.lasts


def why(
    config: KafkaConfig,
    error: KafkaError | KafkaException | None,
    client: AdminClient | Producer | None = None,
) -> str:
    """Why the cluster did not do something, and what to look at.

    client: who asked; its log is read first. Consumers read theirs by themselves.
    """
    if client is not None:
        with held_back():
            client.poll(0)
    fault = error.args[0] if isinstance(error, KafkaException) and error.args else error
    code = fault.code() if isinstance(fault, KafkaError) else None
    if code in FORBIDDEN:
        user = f"user {config.sasl_username}" if config.is_sasl else "this client"
        return f"{user} may not use {FORBIDDEN[code]}; give it the right on the cluster"
    if code not in _AWAY and error is not None:
        return in_words(error)
    failure = log_of(config).failure()
    return str(failure) if failure else f"{in_words(error) if error else 'no answer'}; {RUNS}"
