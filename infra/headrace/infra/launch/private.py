"""The data directory is its user's alone: it holds every prompt and answer, and passwords."""

import os
import stat
from contextlib import suppress
from pathlib import Path

OTHERS = 0o077

# A data directory may be set to a folder that holds more; the rest of that is not ours to close.
_OURS = frozenset(
    [
        "checkpoints",
        "clickhouse",
        "console-keys.json",
        "demo.png",
        "demo.toml",
        "kafka",
        "logs",
        "registry",
        "run",
        "spool",
        "status.json",
        "status.json.new",
        "supervisor.lock",
        "up.log",
    ]
)


def keep_private(directory: Path) -> None:
    """Make a data directory that nobody else can enter, or close one that an earlier start made.

    Processes that write there do so under the umask OTHERS.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o777 & ~OTHERS)
    entries = list(directory.iterdir())
    ours = [entry for entry in entries if entry.name in _OURS]
    for entry in ours:
        _close(entry)
        for folder, names, files in os.walk(entry):
            for name in (*names, *files):
                _close(Path(folder, name))
    if len(ours) == len(entries):
        _close(directory)


def _close(path: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):  # gone meanwhile, or another user's
        mode = path.lstat().st_mode
        if mode & OTHERS and not stat.S_ISLNK(mode):
            path.chmod(stat.S_IMODE(mode) & ~OTHERS)
