"""A process that uses every client while no broker is there, as an agent would: no logging set."""

import sys

from headrace.connectors.kafka import (
    KafkaClientError,
    KafkaConfig,
    Outgoing,
    Writer,
    consumer_settings,
    partitions_of,
)
from headrace.connectors.sdk import NotDurable, SdkConfig, Telemetry


def main(bootstrap: str) -> None:
    """Try each of them once and say what it raised."""
    from confluent_kafka import Consumer

    config = KafkaConfig(bootstrap=bootstrap, delivery_timeout_ms=1_000)
    consumer = Consumer(consumer_settings(config, group="g"))
    consumer.subscribe(["t"])
    writer = Writer(config)
    telemetry = Telemetry(
        SdkConfig(bootstrap=bootstrap, registry_url=f"http://{bootstrap}", close_timeout_s=0.1)
    )
    tries = (
        lambda: consumer.consume(1, 1.0),
        lambda: partitions_of(config, "t", timeout=1.0),
        lambda: writer.send([Outgoing(topic="t", value=b"x", partition=0)], 3.0),
        lambda: telemetry.attempt("r1").start(3.0),
    )
    for attempt in tries:
        try:
            attempt()
        except (KafkaClientError, NotDurable) as error:
            print(error)
    consumer.close()
    writer.close(0.1)
    telemetry.close()


if __name__ == "__main__":
    main(sys.argv[1])
