"""The supervisor's state as a file, so that another process can ask."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from headrace.infra.supervise.part import PartState, State

FILE = "status.json"


@dataclass(kw_only=True, slots=True, frozen=True)
class Status:
    """What a run directory says about its parts."""

    pid: int
    """The supervisor's process id."""
    running: bool
    """Whether that supervisor is alive; if not, every part counts as stopped."""
    parts: tuple[PartState, ...]


def write_status(run_dir: Path, states: Sequence[PartState]) -> None:
    """Write the states; a reader sees the old file or the new one."""
    body = {
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "parts": [dataclasses.asdict(state) for state in states],
    }
    draft = run_dir / f"{FILE}.new"
    draft.write_text(json.dumps(body, indent=1))
    draft.replace(run_dir / FILE)


def read_status(run_dir: Path) -> Status | None:
    """Return what the run directory says, or None if no supervisor ever ran there."""
    try:
        body: dict[str, Any] = json.loads((run_dir / FILE).read_text())
    except FileNotFoundError:
        return None
    running = _alive(body["pid"], body["started"])
    return Status(
        pid=body["pid"],
        running=running,
        parts=tuple(_part(fields, running=running) for fields in body["parts"]),
    )


def _part(fields: dict[str, Any], *, running: bool) -> PartState:
    fields["state"] = State(fields["state"])
    fields["last_log"] = tuple(fields["last_log"])
    if not running and fields["state"] is not State.FAILED:
        fields.update(state=State.STOPPED, pid=None, message="its supervisor does not run")
    return PartState(**fields)


def _alive(pid: int, started: float) -> bool:
    try:  # the start time tells a supervisor from a later process with its id
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:  # it has ended; its parent has not looked
            return False
        return bool(abs(process.create_time() - started) < 1.0)
    except psutil.NoSuchProcess:
        return False
