"""One attempt that is watched from outside: its start, what its processes write, its end."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.commands.collector import Collector
from headrace.connectors.commands.folder import AttemptFolder, Ended, left_behind
from headrace.connectors.commands.records import Note, Raised
from headrace.connectors.described import Described
from headrace.connectors.sdk import Attempt, NotDurable, Stats, Telemetry
from headrace.schemas import Start
from headrace.schemas.vocabulary import InfrastructureEnd, SpanStatus

logger = logging.getLogger(__name__)

_CUT_OFF = "`headrace run` ended before its agent"


@dataclass(kw_only=True, slots=True, frozen=True)
class Told:
    """What became of an attempt's spans."""

    spans: int
    """Its own: those of its processes, its start and its end. Model calls are the gateway's."""
    notes: frozenset[Note]
    durable: str
    """`delivered`, `spooled`, or `kept`: in its folder, for the next start."""


class Session:
    """Emits what an attempt's folder holds. Not thread-safe."""

    def __init__(self, folder: AttemptFolder, telemetry: Telemetry) -> None:
        self._folder = folder
        self._telemetry = telemetry
        self._attempt = _attempt_of(folder, telemetry)
        if folder.identity.starts:
            self._attempt.begin()
        redirected = folder.identity.redirected
        self._collector = Collector(folder.path, self._attempt, redirected=redirected)

    def collect(self) -> None:
        """Take what the agent's processes have written meanwhile."""
        self._collector.collect()

    def cut_off(self) -> None:
        """Say that whoever ran the attempt ended before it."""
        self._attempt.event(InfrastructureEnd.RUNNER_STOPPED, {"message": _CUT_OFF})

    def finish(self, ended: Ended, exits: Mapping[int, str], timeout: float) -> Told:
        """Take what is left, end the attempt, and wait until that is durable.

        The folder goes, unless something in it is durable nowhere else.
        """
        all_over = self._collector.collect(exits)
        self._collector.close()
        durable: str
        try:
            durable = self._attempt.end(
                Described(text=ended.result),
                status=ended.status,
                attributes=_why(ended, self._collector.raised, exits),
                timeout=timeout,
            )
        except NotDurable as error:
            logger.debug("%s", error)
            durable = "kept"
        if durable != "kept" and _holds_all(self._telemetry.stats()) and all_over:
            self._folder.remove()
        else:
            self._folder.leave()
        return Told(
            spans=self._collector.spans + int(self._folder.identity.starts) + 1,
            notes=frozenset(self._collector.notes),
            durable=durable,
        )


def send_left_behind(directory: Path, telemetry: Telemetry, timeout: float) -> int:
    """Send what attempts left behind whose processes have all ended; returns how many did."""
    sent = 0
    for folder in left_behind(directory):
        session = Session(folder, telemetry)
        ended = folder.ended
        if ended is None:
            session.cut_off()
            ended = Ended(status=SpanStatus.ERROR, result="", at=time.time_ns(), how=_CUT_OFF)
        told = session.finish(ended, {}, timeout)
        sent += told.durable != "kept"
        if told.durable == "kept":
            break
    return sent


def _why(ended: Ended, raised: Sequence[Raised], exits: Mapping[int, str]) -> dict[str, str] | None:
    """Why an attempt failed: how its command ended, and the exception that nobody caught.

    That of the command's own process if it is known, else the last one.
    """
    if ended.status != SpanStatus.ERROR:
        return None
    ranked = sorted(raised, key=lambda one: one.pid in exits)  # stable: the last one stays last
    what = [f"{one.name}: {one.message}".rstrip(": ") for one in ranked[-1:]]
    return {"error.message": ": ".join(filter(None, [ended.how, *what]))}


def _attempt_of(folder: AttemptFolder, telemetry: Telemetry) -> Attempt:
    told = folder.identity
    return Attempt(
        telemetry,
        told.rollout_id,
        told.attempt,
        project=told.project,
        subject=told.subject,
        agent=told.agent,
        task_input=told.task_input,
        facts=Start(
            group_id=told.group_id or told.rollout_id,
            group_size=told.group_size,
            group_rollouts=told.group_rollouts,
            policy=told.policy,
            split=told.split,
            deadline=told.deadline,
            expected=told.expected,
        ),
        root=told.root,
        end_id=told.end_id,
        started_at=told.started_at,
    )


def _holds_all(stats: Stats) -> bool:
    """Whether everything taken is in Kafka or in the spool."""
    return not stats.dropped and (not stats.pending or stats.spooled >= stats.pending)
