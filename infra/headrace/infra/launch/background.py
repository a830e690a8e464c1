"""Starting and stopping a headrace that outlives the command that started it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from headrace.infra.errors import PartFailed
from headrace.infra.launch.private import OTHERS, keep_private
from headrace.infra.supervise import State, read_status
from headrace.infra.terminal.report import PartLines

POLL_S = 0.2
STOP_S = 60.0


def start(
    console: Console,
    directory: Path,
    *,
    settings: Path | None = None,
    trainer: bool = True,
    pages: bool = True,
) -> None:
    """Run `headrace up` in a session of its own; returns when every part is ready.

    Raises PartFailed with the end of its output if it ends instead.
    """
    command = [sys.executable, "-P", "-m", "headrace.infra.cli", "up"]
    command += ["--trainer" if trainer else "--no-trainer"]
    command += [] if pages else ["--no-console"]
    command += ["--settings", str(settings)] if settings else []
    keep_private(directory)
    log = directory / "up.log"
    with log.open("wb") as output:
        log.chmod(0o666 & ~OTHERS)
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=OTHERS,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        _follow(console, directory, process, log)
    except BaseException:  # Ctrl-C while starting, too
        process.terminate()
        process.wait()
        raise


def stop(directory: Path) -> bool:
    """Stop what runs in a data directory; False if nothing did.

    Raises PartFailed if it is still there after a minute.
    """
    status = read_status(directory)
    if status is None or not status.running:
        return False
    os.kill(status.pid, signal.SIGTERM)
    end = time.monotonic() + STOP_S
    while (now := read_status(directory)) is not None and now.running:
        if time.monotonic() > end:
            raise PartFailed(
                "down", f"process {status.pid} still runs after {STOP_S:.0f} s; kill it"
            )
        time.sleep(POLL_S)
    return True


def _follow(
    console: Console, directory: Path, process: "subprocess.Popen[bytes]", log: Path
) -> None:
    endpoints: dict[str, str | None] = {}
    with PartLines(console, endpoints) as lines:
        while True:
            status = read_status(directory)
            if status is not None and status.pid == process.pid:
                endpoints.update({part.name: part.endpoint for part in status.parts})
                for part in status.parts:
                    lines(part.name, part.state, part.message)
                if all(part.state is State.READY for part in status.parts):
                    return
            if process.poll() is not None:
                raise PartFailed(
                    "up",
                    f"ended with code {process.returncode}; its output is in {log}",
                    tuple(log.read_text(errors="replace").splitlines()[-8:]),
                )
            time.sleep(POLL_S)
