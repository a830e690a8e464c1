"""What a worker process reports of itself: a small JSON file, replaced whole by each beat."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_heartbeat(file: Path, report: Mapping[str, Any]) -> None:
    """Replace `file` by `report` as JSON; a reader sees the one before or this one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".tmp")
    draft.write_text(json.dumps(report))
    draft.replace(file)


def read_heartbeat(file: Path) -> dict[str, Any]:
    """What a worker last said of itself; empty if it has not said anything yet.

    A file that is no report (torn by a full disk, written by something else) says nothing either.
    """
    try:
        report = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):  # ValueError: neither JSON nor text
        return {}
    return report if isinstance(report, dict) else {}
