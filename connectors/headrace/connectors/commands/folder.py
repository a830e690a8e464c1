"""The folder of one attempt: who it is, and the journals of its processes.

It is written before the agent starts and goes when the spool or Kafka has everything, so a killed
`headrace run` loses nothing: the next one that finds its lock free sends the rest.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from headrace.connectors.commands.errors import JournalError
from headrace.connectors.instrument import names

logger = logging.getLogger(__name__)

_LOCK, _ATTEMPT, _ENDED = "lock", "attempt.json", "ended.json"


@dataclass(kw_only=True, slots=True, frozen=True)
class Identity:
    """Whose spans a folder holds, and what `attempt.start` says."""

    project: str
    rollout_id: str
    attempt: str
    root: str
    """Span id of `attempt.start`."""
    end_id: str
    """Span id of `attempt.end`: whoever writes it writes the same."""
    started_at: int
    """Nanoseconds since the epoch."""
    agent: str = ""
    subject: str | None = None
    policy: str = ""
    split: str = "train"
    task_input: str = ""
    group_id: str = ""
    group_size: int = 1
    group_rollouts: tuple[str, ...] = ()
    deadline: int = 0
    """Milliseconds since the epoch; 0: none."""
    expected: str = ""
    redirected: bool = True
    """Whether its model calls go to the gateway."""
    starts: bool = True
    """Whether the start is recorded by whoever reads this; else a runner has recorded it."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Ended:
    """How an attempt ended."""

    status: str
    result: str
    """JSON, or empty."""
    at: int
    """Nanoseconds since the epoch."""
    how: str = ""
    """Why the status is `error`, as `exit code 1`."""


class AttemptFolder:
    """An attempt's folder, locked by whoever made it and by the agent's process."""

    def __init__(self, path: Path, identity: Identity, lock: int) -> None:
        self.path = path
        self.identity = identity
        self.lock = lock
        """Descriptor to pass on to the agent's process: the folder is live as long as it is."""

    @property
    def has_no_headrace(self) -> bool:
        """Whether a Python of the agent's had no headrace to import."""
        return (self.path / names.NO_HEADRACE).exists()

    def journals(self) -> Iterator[bytes]:
        """What the agent's processes have written."""
        for path in sorted(self.path.glob(f"*{names.ENDING}")):
            yield path.read_bytes()

    @property
    def ended(self) -> Ended | None:
        """How the attempt ended, if that was written down."""
        try:
            return Ended(**json.loads((self.path / _ENDED).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def end(self, ended: Ended) -> None:
        """Write down how the attempt ended. Raises OSError."""
        scratch = self.path / f".{_ENDED}"
        scratch.write_text(json.dumps(asdict(ended)), encoding="utf-8")
        scratch.rename(self.path / _ENDED)

    def remove(self) -> None:
        """Everything in it is durable elsewhere."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)

    def leave(self) -> None:
        """Let it go as it is, for whoever comes next."""
        os.close(self.lock)


def make_folder(directory: Path, identity: Identity) -> AttemptFolder:
    """Make and lock the folder of an attempt. Raises JournalError."""
    hidden, path = directory / f".{identity.attempt}", directory / identity.attempt
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        hidden.mkdir(mode=0o700)
        (hidden / _ATTEMPT).write_text(json.dumps(asdict(identity)), encoding="utf-8")
        lock = locked(hidden / _LOCK)
        assert lock is not None
        hidden.rename(path)  # nobody sees it before it is locked
    except OSError as error:
        raise JournalError(
            f"{directory} cannot be used ({error}): name a folder that this user may write, "
            "in [data] directory"
        ) from error
    return AttemptFolder(path, identity, lock)


def left_behind(directory: Path) -> Iterator[AttemptFolder]:
    """Lock and return the folders whose processes have all ended, oldest first."""
    try:
        paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    except OSError:  # nothing was ever run here
        return
    for path in paths:
        try:
            lock = locked(path / _LOCK)
        except OSError:  # gone meanwhile, or not ours
            continue
        if lock is None:
            continue
        try:
            identity = _identity(path / _ATTEMPT)
        except (OSError, ValueError, TypeError) as error:
            if path.exists():
                logger.warning("the journal %s cannot be read: %s", path, error)
            os.close(lock)
            continue
        yield AttemptFolder(path, identity, lock)


def _identity(path: Path) -> Identity:
    told = json.loads(path.read_text(encoding="utf-8"))
    return Identity(**{**told, "group_rollouts": tuple(told["group_rollouts"])})


def locked(path: Path) -> int | None:
    """The descriptor of a lock; None: somebody has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
