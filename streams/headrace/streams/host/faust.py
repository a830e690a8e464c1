"""Faust as the host of a stage, and only that.

The one loss-free pattern: a stream without acknowledgements of its own, explicit ones in order, a
process that dies with any lost partition, and a supervisor that starts it again at once.
"""

import asyncio
import gc
import logging
import os
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import compress
from typing import Any, NoReturn

from headrace.connectors.kafka import (
    Guard,
    KafkaAccess,
    LogRecord,
    Patience,
    Registry,
    make_guard,
    partitions_of,
)
from headrace.connectors.worker.exits import EXIT_NOT_ASSIGNED, EXIT_RESUMED, EXIT_REVOKED
from headrace.schemas import Codec, Unavailable
from headrace.schemas.topics import MAX_MESSAGE_BYTES
from headrace.streams.errors import HostError
from headrace.streams.host.behind import Behind
from headrace.streams.host.buffer import Buffer
from headrace.streams.host.config import HostConfig
from headrace.streams.host.report import make_reporter
from headrace.streams.host.takes import Takes
from headrace.streams.host.ticks import Ticker
from headrace.streams.stage import Stage

logger = logging.getLogger(__name__)

_OBJECTS_PER_COLLECTION = 200_000
_GATHER_S = 0.005  # in which the records of a fetch come through Faust


def run_stage(make_stage: Callable[[], Stage], config: HostConfig) -> NoReturn:
    """Run a stage until the process is told to stop; never returns.

    Exit codes: 0 stopped, 1 crashed (the supervisor starts it again), 3 a partition was lost,
    4 the assignment lacks the topic, 5 a halted partition may go on.
    """
    import faust

    config.data_directory.mkdir(parents=True, exist_ok=True)
    kafka = config.kafka.client(f"headrace.{config.name}", delivery_timeout_ms=30_000)
    guard = make_guard(
        kafka,
        Codec(Registry(config.registry)),
        stage=config.name,
        group=config.group_id,
        limit=config,
    )
    # A cluster that is away, or does not let us in any more, is waited for here, and told in words:
    # Faust's own client ends the process, with a traceback.
    patience = Patience(config.member_id)
    stage = patience.until_done(make_stage)
    for topic in stage.topics:
        patience.until_done(partial(partitions_of, kafka, topic))
    app = build_app(stage, config, guard)
    _collect_seldom()
    worker = faust.Worker(app, quiet=True, override_logging=False, redirect_stdouts=False)
    worker.execute_from_commandline()
    sys.exit(0)


def _collect_seldom() -> None:
    """Keep Python's cycle collector from walking every take's records again and again.

    A take makes hundreds of thousands of objects, none in a cycle, and what a stage holds lives
    long: with the default thresholds a third of the credit stage's time went into looking.
    """
    gc.collect()
    gc.freeze()  # what was imported stays for ever
    gc.set_threshold(_OBJECTS_PER_COLLECTION, 50, 100)


def build_app(stage: Stage, config: HostConfig, guard: Guard) -> Any:
    """The Faust app that hosts `stage`."""
    import faust
    import mode

    from headrace.streams.host.fetching import gather

    if len(stage.topics) != 1 or stage.name != config.name:
        raise HostError(
            f"the stage is {stage.name} on {list(stage.topics)}, the host is configured for "
            f"{config.name}, and Faust runs a stage of one topic"
        )
    app = faust.App(
        config.group_id,
        broker=f"kafka://{config.kafka.bootstrap}",
        broker_credentials=credentials(config.kafka),
        consumer_group_instance_id=config.member_id,
        broker_session_timeout=config.session_timeout_s,
        broker_heartbeat_interval=1.0,
        broker_commit_interval=1.0,
        broker_commit_every=2_000,
        consumer_max_fetch_size=MAX_MESSAGE_BYTES,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=64,
        stream_wait_empty=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_tables_enabled=False,
        store="memory://",
        datadir=str(config.data_directory / config.member_id),
        agent_supervisor=mode.CrashingSupervisor,
    )
    gather(app, config.take_ms)
    _Host(app, stage, config, guard).install(mode.CrashingSupervisor)
    return app


def credentials(kafka: KafkaAccess) -> Any:
    """How Faust's own client enters the cluster; None where anybody may."""
    import faust

    context = None
    if kafka.is_tls:
        context = ssl.create_default_context(cafile=kafka.ssl_ca_location or None)
        if kafka.ssl_certificate_location:
            context.load_cert_chain(kafka.ssl_certificate_location, kafka.ssl_key_location)
    if kafka.is_sasl:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


class _Host:
    """The hooks between one Faust app and one stage."""

    def __init__(self, app: Any, stage: Stage, config: HostConfig, guard: Guard) -> None:
        self.app = app
        (self.topic,) = stage.topics
        self.stage = stage
        self.config = config
        self.guard = guard
        self.patience = Patience(config.member_id)
        self.takes = Takes(stage, config, guard, self.patience)
        self.ticker = Ticker(config.kafka, self.topic, self._next_deadline)
        self.reporter = make_reporter(config, stage)
        self.behind = Behind(stage, config)
        self.loading: asyncio.Task[None] | None = None

    def install(self, supervisor: Any) -> None:
        app = self.app
        topic = app.topic(
            self.topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            internal=False,
        )
        app.agent(topic, name=self.config.name, supervisor_strategy=supervisor)(self._consume)
        app.on_partitions_assigned.connect(self._assigned)
        app.on_partitions_revoked.connect(self._revoked)
        app.task(self._store)
        app.task(self._beat)

    async def _consume(self, stream: Any) -> None:
        """Feed takes from the stream, none of whose events is acknowledged by itself."""
        stream = stream.noack()
        buffer = Buffer(self.config.take_records)
        async with asyncio.TaskGroup() as both:  # one that fails ends the other, and the worker
            taking = both.create_task(self._take(stream, buffer))
            await buffer.feed(stream.events())
            taking.cancel()

    async def _take(self, stream: Any, buffer: Buffer) -> None:
        while True:
            events = await buffer.take(_GATHER_S)
            if self.loading is not None:
                await self.loading
            records = [log_record(event.message) for event in events]
            admits = await self.takes.admits(records)
            # What is not admitted is never acknowledged.
            admitted = list(compress(records, admits))
            if not admitted:
                continue
            await self.takes.take(admitted)
            for record in admitted:
                self.ticker.seen(record.partition, record.log_time)
            await self.behind.add([partial(stream.ack, one) for one in compress(events, admits)])

    async def _store(self) -> None:
        await self.behind.run()

    async def _assigned(self, app: Any, assigned: set[Any], **_: Any) -> None:
        partitions = sorted(tp.partition for tp in assigned if tp.topic == self.topic)
        if assigned and not partitions:
            # A static member that comes back with another topic keeps its old assignment.
            logger.critical(
                "%s was assigned %s, nothing of %s: a changed topic set needs a new group",
                self.config.member_id,
                sorted({tp.topic for tp in assigned}),
                self.topic,
            )
            os._exit(EXIT_NOT_ASSIGNED)
        logger.info("%s: assigned partitions %s", self.config.member_id, partitions)
        self.ticker.assign(partitions)
        # Not awaited here (a rebalance has a time limit) and not left to the first record (a
        # quiet partition has none, yet its old episodes must close): the take awaits it
        # (rule: stubs load before the first take).
        self.loading = asyncio.create_task(self._load(partitions))

    async def _load(self, partitions: Sequence[int]) -> None:
        places = [(self.topic, partition) for partition in partitions]
        await self.patience.auntil_done(lambda: self.guard.assigned(places))
        await self.stage.assigned(places)

    async def _revoked(self, app: Any, revoked: set[Any], **_: Any) -> None:
        # The set is empty at the first join (rule: state never outlives an assignment).
        if revoked and not self.app.should_stop:
            logger.warning("%s lost %d partitions and leaves", self.config.member_id, len(revoked))
            os._exit(EXIT_REVOKED)

    async def _beat(self) -> None:
        """Once a second: ticks for quiet partitions, halted ones, and how it fares."""
        if self.reporter is not None:
            self.reporter.serve()
        while not self.app.should_stop:
            if self.loading is not None and self.loading.done():
                self.loading.result()  # a stage that failed to load is a crash, not a silence
                due = [p for p in self.ticker.due(time.monotonic()) if not self._is_halted(p)]
                if due:
                    await asyncio.to_thread(self.ticker.append, due)
                if self.guard.halted:
                    await self._hold()
            if self.reporter is not None:
                await asyncio.to_thread(self.reporter.tell, self._report())
            await asyncio.sleep(1.0)

    async def _hold(self) -> None:
        """Fetch nothing of halted partitions, and leave when one of them may go on.

        A restart is what reads them on: Faust has records of theirs in its buffers, dropped.
        """
        topics = {tp for tp in self.app.consumer.assignment() if tuple(tp) in self.guard.halted}
        self.app.consumer.pause_partitions(topics)
        try:
            resumed = await asyncio.to_thread(self.guard.resumed)
        except Unavailable as error:  # asked again in a second
            logger.warning("whether a halted partition may go on is not known: %s", error)
            return
        if resumed:
            logger.warning("%s leaves to read %s on", self.config.member_id, resumed)
            await self.app.consumer.commit()
            os._exit(EXIT_RESUMED)

    def _next_deadline(self, partition: int) -> int | None:
        return self.stage.next_deadline((self.topic, partition))

    def _is_halted(self, partition: int) -> bool:
        return (self.topic, partition) in self.guard.halted

    def _report(self) -> dict[str, Any]:
        return self.takes.report(
            [(self.topic, partition) for partition in self.ticker.partitions],
            ready=self.loading is not None and self.loading.done(),
        )


def log_record(message: Any) -> LogRecord:
    """A Faust message as the stage sees it."""
    return LogRecord(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        log_time=round(message.timestamp * 1000),  # Faust divided milliseconds by 1000.0
        value=message.value,
        key=message.key,
        headers=dict(message.headers or ()),
    )
