"""Keys of the console: who holds one. Digests are kept, and no key."""

import fcntl
import json
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from headrace.connectors.http_server import Keys, digest_of, new_key
from headrace.connectors.loopback import is_loopback
from headrace.infra.console.roles import ANYBODY, Role, Visitor
from headrace.infra.errors import SettingsError
from headrace.infra.settings import Settings

logger = logging.getLogger(__name__)
_LOCK = os.O_RDWR | os.O_CREAT
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(kw_only=True, slots=True, frozen=True)
class Holder:
    """An entry of the file."""

    name: str
    role: Role
    added: str
    """Day, UTC."""
    sha256: str
    """Digest of the key, in hex."""


class KeyFile:
    """The file in which `headrace console keys` keeps digests; it need not be there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def holders(self) -> tuple[Holder, ...]:
        """All entries, in the order in which they were added.

        Raises:
            SettingsError: the file cannot be read, or is not one of ours.
        """
        try:
            entries = json.loads(self.path.read_text(encoding="utf-8"))
            found = tuple(Holder(**{**one, "role": Role(one["role"])}) for one in entries)
            for one in found:
                if len(bytes.fromhex(one.sha256)) != len(digest_of("")):
                    raise ValueError(f"{one.name} has no SHA-256")
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise SettingsError(
                f"{self.path}, the console's keys: {error.strerror}. Its user alone may read it"
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                f"{self.path} holds no keys of the console ({error}): move it away, and add them "
                "again with `headrace console keys add`"
            ) from error
        return found

    def add(self, name: str, role: Role) -> str:
        """A new key, which is not kept: whoever calls tells it once.

        Raises:
            SettingsError: the name cannot be one or is taken, or the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"{name!r} cannot be the name of a key: letters, digits, `.`, `_` and `-`, 64 at "
                "most"
            )
        with self._alone():
            known = self.holders()
            if any(one.name == name for one in known):
                raise SettingsError(
                    f"there is a key {name} already: `headrace console keys remove {name}` takes "
                    "it away"
                )
            key = new_key()
            today = datetime.now(UTC).date().isoformat()
            made = Holder(name=name, role=role, added=today, sha256=digest_of(key).hex())
            self._write((*known, made))
        return key

    def remove(self, name: str) -> bool:
        """Take a key away; False: there is none of that name. Raises as `add`."""
        if not self.path.exists():
            return False
        with self._alone():
            known = self.holders()
            left = tuple(one for one in known if one.name != name)
            if len(left) == len(known):
                return False
            self._write(left)
        return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once do not take each other's keys away."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path.with_name(f"{self.path.name}.lock"), _LOCK, 0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        with os.fdopen(lock):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)  # released by closing, also by a process's end
            except OSError as error:
                raise _unwritable(self.path, error) from error
            yield

    def _write(self, holders: tuple[Holder, ...]) -> None:
        """A reader sees the old file or the new one; its user alone sees either."""
        entries = [
            {"name": one.name, "role": one.role, "added": one.added, "sha256": one.sha256}
            for one in holders
        ]
        draft = self.path.with_name(f"{self.path.name}.new")
        try:
            draft.unlink(missing_ok=True)
            number = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(json.dumps(entries, indent=1) + "\n")
            draft.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error


class Door:
    """Who may come in by the keys of a file, which is read again when it changes.

    is_open: whether nobody needs a key while there is none (on loopback).
    """

    def __init__(self, file: KeyFile, *, is_open: bool) -> None:
        self._file = file
        self._is_open = is_open
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._holders: tuple[Holder, ...] = ()
        self._keys = Keys()
        self._broken = False

    def visitor(self, given: str) -> Visitor | None:
        """Whose key it is ('': none was given); None: it opens nothing."""
        with self._lock:
            self._look()
            if self._broken:
                return None
            if not self._holders:
                return ANYBODY if self._is_open else None
            which = self._keys.which(given)
            if which is None:
                return None
            holder = self._holders[which]
        return Visitor(name=holder.name, role=holder.role)

    def _look(self) -> None:
        seen = _mark(self._file.path)
        if seen == self._seen and not self._broken:
            return
        try:
            self._holders = self._file.holders()
        except SettingsError as error:  # it is read again at the next look
            if not self._broken:
                logger.error("nobody is let in: %s", error)
            self._broken = True
            return
        self._keys = Keys(digests=[bytes.fromhex(one.sha256) for one in self._holders])
        self._seen, self._broken = seen, False


def door_of(settings: Settings) -> Door:
    """Who may come in.

    Raises:
        SettingsError: others can reach the console and it has no keys, or they cannot be read.
    """
    file, told = KeyFile(settings.console_keys), settings.console
    why = f"host is {told.host!r}" if not is_loopback(told.host) else ""
    if not why and told.names:
        why = f"names are {', '.join(told.names)}"
    if why and not file.holders():
        raise SettingsError(
            f"[console] {why}, so others can reach it, and there are no keys in {file.path}: make "
            "one with `headrace console keys add NAME --role viewer`, or listen on 127.0.0.1 alone"
        )
    return Door(file, is_open=not why)


def _unwritable(path: Path, error: OSError) -> SettingsError:
    return SettingsError(f"{path} cannot be written: {error.strerror}")


def _mark(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_mtime_ns, found.st_size)
