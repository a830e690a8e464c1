"""What is supervised, and what is known about it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


class State(enum.StrEnum):
    """The life of a part."""

    WAITING = "waiting"  # for the parts it depends on
    PREPARING = "preparing"  # downloads, formatting
    STARTING = "starting"  # the process runs, its probe does not answer yet
    READY = "ready"
    SILENT = "silent"  # it was ready, runs, and has not answered for a while; left alone
    CRASHED = "crashed"  # it ended by itself; started again after a pause
    FAILED = "failed"  # it never became ready and start() gave up, or said that no start will do
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(kw_only=True, slots=True, frozen=True)
class Part:
    """One child process and how to tell that it works."""

    name: str
    command: Callable[[], list[str]] | list[str]
    """The command line; a callable is asked after `prepare`, at each start."""
    ready: Callable[[], bool]
    """A probe that answers within a few seconds; asked for as long as the part runs."""
    log: Path
    """Where its output goes; `<log>.1` keeps the one before."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's own environment."""
    directory: Path | None = None
    """Where it runs; None: where the supervisor does."""
    endpoint: str | None = None
    """What a client connects to, for `status`."""
    depends: tuple[str, ...] = ()
    """Parts that must be ready first, and that are stopped later."""
    prepare: Callable[[], None] | None = None
    """Runs before each start of the process."""
    setup: Callable[[], None] | None = None
    """Runs when the probe first answers (topics, migrations), before dependent parts start."""
    planned_exits: frozenset[int] = frozenset()
    """Exit codes by which it asks for a restart; not crashes, and restarted without a pause."""
    final_exits: frozenset[int] = frozenset()
    """Exit codes by which it says that no other start mends it: it is not started again."""
    silent_after_s: float = 10.0
    """How long a part that was ready may leave its probe without an answer before that is told."""
    ready_timeout_s: float = 90.0
    """How long the first start may take."""
    stop_grace_s: float = 15.0
    """How long it may take to end after SIGTERM, before SIGKILL."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PartState:
    """What is known about a part at one moment."""

    name: str
    state: State = State.WAITING
    message: str = ""
    """What it waits for, or why it ended."""
    endpoint: str | None = None
    pid: int | None = None
    restarts: int = 0
    """Starts after the first, planned ones included."""
    crashes: int = 0
    silent_s: float = 0.0
    """For how long it has not answered; 0 unless its state is SILENT."""
    last_log: tuple[str, ...] = ()
    """The last log lines before its latest crash."""


OnEvent = Callable[[str, State, str], None]
"""Called with (part, state, message); never from two threads at once."""
