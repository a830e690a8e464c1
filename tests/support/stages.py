"""A stage of the stream as a process of its own."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def start_stage(stage: str, environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a stage's worker; what it says is added to `log`. Whoever starts it ends it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "headrace.streams", stage],
            env=environment,
            stdout=output,
            stderr=output,
        )
