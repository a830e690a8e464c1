"""Fetches that bring many records at once: the broker lets them come together, not the worker.

Faust asks for whatever is there, so that agents that await their calls cost a fetch for almost each
record of one or two spans. It has no setting for it; aiokafka has.
"""

from typing import Any

from faust.transport.drivers import aiokafka

_ENOUGH = 64 * 1024
"""Bytes for which the broker does not wait for more."""
_QUIET_MS = 1_500


def gather(app: Any, wait_ms: int) -> None:
    """Let fetches of an app that is not started yet wait up to `wait_ms` for more records.

    While nothing comes the first record is not waited on, and few fetches are made.
    """

    class Thread(aiokafka.AIOKafkaConsumerThread):
        async def _fetch_records(self, consumer: Any, *args: Any, **options: Any) -> Any:
            records = await super()._fetch_records(consumer, *args, **options)
            pace(consumer._fetcher, wait_ms, came=bool(records))
            return records

    class Consumer(aiokafka.Consumer):
        def _new_consumer_thread(self) -> Thread:
            return Thread(self, loop=self.loop, beacon=self.beacon)

    class Transport(aiokafka.Transport):
        pass

    Transport.Consumer = Consumer
    app.transport = Transport(app.conf.broker_consumer, app)


def pace(fetcher: Any, wait_ms: int, *, came: bool) -> None:
    """Set how long the broker keeps the next fetch, by whether records `came` with the last."""
    fetcher._fetch_min_bytes = _ENOUGH if came else 1
    fetcher._fetch_max_wait_ms = wait_ms if came else _QUIET_MS
