"""The SDK's front: spans in, never in the agent's way."""

import asyncio
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for_any
from ctypes import py_object, pythonapi
from multiprocessing.util import Finalize
from typing import Any

from headrace.connectors.described import as_name
from headrace.connectors.sdk.attempt import Attempt
from headrace.connectors.sdk.config import SdkConfig
from headrace.connectors.sdk.emitter import Durability
from headrace.connectors.sdk.errors import Closed, NotDurable
from headrace.connectors.sdk.incarnation import Incarnation
from headrace.connectors.sdk.sealing import Ticket
from headrace.connectors.sdk.stats import Stats
from headrace.connectors.sdk.transport import KafkaTransport, Transport
from headrace.schemas import Span, Start
from headrace.schemas.vocabulary import Split

logger = logging.getLogger(__name__)


class Telemetry:
    """Sends spans to `headrace.spans`. Safe to share between threads and to use after a fork.

    A forked child starts an incarnation of its own (another producer id) with its first span.
    The end of the process closes it; a killed process loses at most what was not sealed, and
    the next start on its spool directory sends the rest.

    `lazy` starts nothing, not even what a dead process left in the spool, before the first span.
    Raises SpoolError when the spool directory cannot be used.

    Example: `Telemetry(SdkConfig(bootstrap="localhost:9092", registry_url=url)).emit(span)`.
    """

    def __init__(
        self,
        config: SdkConfig,
        transport: Callable[[], Transport] | None = None,
        *,
        lazy: bool = False,
    ) -> None:
        self.config = config
        self._make_transport = transport or (lambda: KafkaTransport(config))
        self._lock = threading.Lock()
        self._closed = False
        self._last: Stats | None = None
        self._incarnation: Incarnation | None = None if lazy else self._start()
        _live.add(self)

    def emit(self, span: Span) -> None:
        """Take a span and return. Never blocks on Kafka and never raises.

        What does not fit into memory, has an illegal id or comes after `close` is counted in
        `stats()` and logged.
        """
        try:
            incarnation = self._current()
            if not incarnation.suppresses(span):
                incarnation.take(span, durable=False)
        except NotDurable:
            logger.debug("span %s is dropped: memory is full", span.span_id)
        except Exception:  # the agent never fails because of telemetry
            logger.warning("a span was not taken", exc_info=True)

    def emit_durably(self, span: Span, timeout: float = 30.0) -> Durability:
        """Take a span and return when Kafka has it or, with Kafka away, the spool; says which.

        Raises:
            NotDurable: neither had it within `timeout` seconds, or memory is full.
            ValueError: an id, kind or status of the span is none.
            Closed: the telemetry is closed.
        """
        ticket = self._ticket(span)
        if ticket is None:
            return "suppressed"
        end = time.monotonic() + timeout
        patience = self._patience(timeout)
        wait_for_any([ticket.delivered], patience)
        if not ticket.delivered.done():
            wait_for_any([ticket.spooled], max(0.0, end - time.monotonic()))
            if not _spooled(ticket):
                wait_for_any([ticket.delivered], max(0.0, end - time.monotonic()))
        return _verdict(ticket, span, timeout, self._trouble())

    async def aemit_durably(self, span: Span, within: float = 30.0) -> Durability:
        """`emit_durably` for asyncio: the event loop is not blocked."""
        ticket = self._ticket(span)
        if ticket is None:
            return "suppressed"
        end = time.monotonic() + within
        await _wait(ticket.delivered, self._patience(within))
        if not ticket.delivered.done():
            await _wait(ticket.spooled, max(0.0, end - time.monotonic()))
            if not _spooled(ticket):
                await _wait(ticket.delivered, max(0.0, end - time.monotonic()))
        return _verdict(ticket, span, within, self._trouble())

    async def aemit_all_durably(self, spans: Sequence[Span], within: float = 30.0) -> Durability:
        """Take spans, all or none, and return when all are durable; `spooled` if one only is that.

        For a process that passes on the spans of others: it costs a wait for each batch, not for
        each span.

        Raises:
            NotDurable: memory is full, Kafka is not known yet, or neither Kafka nor the spool had
                all of them `within` seconds.
            ValueError: an id, kind or status of a span is none.
            Closed: the telemetry is closed.
        """
        incarnation = self._current()
        given = len(spans)
        spans = [span for span in spans if not incarnation.suppresses(span)]
        if not spans:
            return "suppressed" if given else "delivered"
        tickets = await asyncio.to_thread(incarnation.take_all, spans)
        end = time.monotonic() + within
        await _wait_all([t.delivered for t in tickets], self._patience(within))
        late = [ticket for ticket in tickets if not ticket.delivered.done()]
        await _wait_all([t.spooled for t in late], max(0.0, end - time.monotonic()))
        late = [ticket for ticket in late if not _spooled(ticket)]
        await _wait_all([t.delivered for t in late], max(0.0, end - time.monotonic()))
        told = {_verdict(one, spans[0], within, self._trouble()) for one in tickets}
        return "spooled" if "spooled" in told else "delivered"

    def attempt(
        self,
        rollout_id: str,
        attempt: str | None = None,
        *,
        group_id: str = "",
        group_size: int = 1,
        group_rollouts: Sequence[str] = (),
        policy: str = "",
        split: str = Split.TRAIN,
        deadline: int = 0,
        expected: Any = "",
        task_input: Any = "",
        agent: str = "",
        project: str | None = None,
        subject: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Attempt:
        """An attempt at a rollout (`attempt` is drawn if not given); nothing is sent yet.

        `task_input` and `expected` are JSON, or values that are made JSON; `deadline` is
        milliseconds since the epoch; `attributes` are those of `attempt.start`.
        """
        facts = Start(
            group_id=group_id or rollout_id,
            group_size=group_size,
            group_rollouts=_names(group_rollouts),
            policy=policy,
            split=split,
            deadline=deadline,
            expected=expected,
        )
        return Attempt(
            self,
            rollout_id,
            attempt,
            project=project,
            subject=subject,
            agent=agent,
            task_input=task_input,
            facts=facts,
            attributes=attributes,
        )

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until Kafka has everything emitted so far; False if not within `timeout` s."""
        with self._lock:
            incarnation = self._incarnation
        return incarnation is None or incarnation.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Deliver for up to `timeout` seconds (default: the configuration's), then stop.

        What is left stays in the spool. Closing twice does nothing.
        """
        with self._lock:
            incarnation, self._incarnation = self._incarnation, None
            self._closed = True
        if incarnation is not None:
            self._finalizer.cancel()
            incarnation.close(self.config.close_timeout_s if timeout is None else timeout)
            self._last = incarnation.stats()

    def stats(self) -> Stats:
        """What became of the spans of this incarnation."""
        with self._lock:
            incarnation = self._incarnation
        if incarnation is not None:
            return incarnation.stats()
        return self._last or Stats(producer="")

    def _start(self) -> Incarnation:
        incarnation = Incarnation(self.config, self._make_transport())
        # Runs at the end of this process, and of a multiprocessing child, which skips atexit.
        self._finalizer = Finalize(
            self, incarnation.close, (self.config.close_timeout_s,), exitpriority=10
        )
        return incarnation

    def _current(self) -> Incarnation:
        incarnation = self._incarnation
        if incarnation is None:
            with self._lock:
                if self._closed:
                    raise Closed("the telemetry is closed: emit spans before close()")
                incarnation = self._incarnation = self._incarnation or self._start()
        return incarnation

    def _ticket(self, span: Span) -> Ticket | None:
        incarnation = self._current()
        return None if incarnation.suppresses(span) else incarnation.take(span, durable=True)

    def _patience(self, timeout: float) -> float:
        # Once Kafka is known to be away nobody waits for it again, until it has answered.
        if self.config.spool_directory is None:
            return timeout
        away = self._current().away()
        return 0.0 if away else min(timeout, self.config.broker_patience_ms / 1000)

    def _trouble(self) -> str:
        incarnation = self._incarnation
        return incarnation.trouble if incarnation is not None else ""

    def _forked(self) -> None:
        """In a forked child: locks may be held by threads that are not here, so all is new."""
        incarnation = self._incarnation
        self._lock = threading.Lock()
        self._incarnation = None
        if incarnation is not None:
            # librdkafka's threads are not here either: freeing its handle would wait for them
            # for ever, so the object gets a reference that nobody gives back.
            pythonapi.Py_IncRef(py_object(incarnation))
            incarnation.abandon()


_live: "weakref.WeakSet[Telemetry]" = weakref.WeakSet()


def _after_fork() -> None:
    for telemetry in list(_live):
        telemetry._forked()


os.register_at_fork(after_in_child=_after_fork)


def _names(values: Any) -> tuple[str, ...]:
    try:
        return tuple(as_name(value) for value in values)
    except Exception:  # not a sequence: what it holds nobody can tell
        return ()


def _spooled(ticket: Ticket) -> bool:
    return ticket.spooled.done() and ticket.spooled.result()


async def _wait(future: "Future[Any]", seconds: float) -> None:
    # asyncio.wait leaves the future alone when time is up or the waiter is cancelled.
    await asyncio.wait([asyncio.wrap_future(future)], timeout=seconds)


async def _wait_all(futures: "Sequence[Future[Any]]", seconds: float) -> None:
    if futures:
        await asyncio.wait([asyncio.wrap_future(future) for future in futures], timeout=seconds)


def _verdict(ticket: Ticket, span: Span, timeout: float, trouble: str) -> Durability:
    if ticket.delivered.done():
        ticket.delivered.result()
        return "delivered"
    if _spooled(ticket):
        return "spooled"
    raise NotDurable(
        f"neither Kafka nor a spool had span {span.span_id} within {timeout:g} s; "
        f"it may still arrive{trouble and ': '}{trouble}"
    )
