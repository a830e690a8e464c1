"""A worker's heartbeat: a small JSON file, replaced whole, so that a reader never sees half."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_heartbeat(path: Path, report: Mapping[str, Any]) -> None:
    """Replace `path` by `report` as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(report))
    draft.replace(path)


def read_heartbeat(path: Path) -> dict[str, Any] | None:
    """The last report, or None where no worker has written one."""
    try:
        report: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return report
