"""Sealed batches on disk until Kafka has them (rule: durable before the answer).

Each incarnation of a producer keeps a folder of its own with a lock, so that processes may name
one spool directory; a folder whose lock is free belongs to a process that has died, and whoever
starts next sends what it left. A segment file is a row of frames (header with magic, partition,
spans, length and CRC-32 of the body; then the body); it goes when Kafka has all of it, so what a
process leaves may contain batches that were delivered: sending them again changes nothing.
"""

import contextlib
import fcntl
import json
import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.sdk.errors import SpoolError

logger = logging.getLogger(__name__)

_FRAME = struct.Struct("<4sIIII")
_MAGIC = b"HRS1"
_LOCK = "lock"
_PARTITIONS = "partitions.json"
SEGMENT_BYTES = 8_000_000


@dataclass(slots=True, eq=False)
class _Segment:
    path: Path
    size: int = 0
    live: int = 0


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Entry:
    """A batch in a spool."""

    spool: "Spool"
    segment: _Segment
    offset: int
    length: int
    partition: int
    spans: int

    def read(self) -> bytes:
        """The batch's Avro body. Raises OSError."""
        with self.segment.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)

    def remove(self) -> None:
        """Kafka has it."""
        self.spool.forget(self)


class Spool:
    """One incarnation's folder. Safe to share between threads."""

    def __init__(self, folder: Path, lock: int, *, fsync: bool = False) -> None:
        self.folder = folder
        self.size = 0
        self._descriptor = lock
        self._fsync = fsync
        self._lock = threading.Lock()
        self._segments: list[_Segment] = []
        self._active: int | None = None

    def append(self, partition: int, spans: int, body: bytes) -> Entry:
        """Write a batch; it survives the process when this returns. Raises OSError."""
        with self._lock:
            if self._active is None or self._segments[-1].size >= SEGMENT_BYTES:
                self._roll()
            assert self._active is not None
            segment = self._segments[-1]
            header = _FRAME.pack(_MAGIC, partition, spans, len(body), zlib.crc32(body))
            try:
                _write(self._active, header + body)
                if self._fsync:
                    os.fsync(self._active)
            except OSError:
                # What is half written would hide what comes behind it.
                os.ftruncate(self._active, segment.size)
                raise
            offset = segment.size + _FRAME.size
            segment.size += len(header) + len(body)
            segment.live += 1
            self.size += len(header) + len(body)
            return Entry(
                spool=self,
                segment=segment,
                offset=offset,
                length=len(body),
                partition=partition,
                spans=spans,
            )

    def forget(self, entry: Entry) -> None:
        """A batch is delivered; a segment that holds no other goes."""
        with self._lock:
            segment = entry.segment
            segment.live -= 1
            if segment.live:
                return
            self.size -= segment.size
            if self._active is not None and segment is self._segments[-1]:
                os.ftruncate(self._active, 0)
                segment.size = 0
            else:
                segment.path.unlink(missing_ok=True)
                self._segments.remove(segment)

    @property
    def empty(self) -> bool:
        """Whether Kafka has everything in it."""
        with self._lock:
            return not any(segment.live for segment in self._segments)

    def close(self) -> None:
        """Let the folder go: removed if Kafka has all of it, else left for the next start."""
        with self._lock:
            if self._active is not None:
                os.close(self._active)
                self._active = None
            if not any(segment.live for segment in self._segments):
                for segment in self._segments:
                    segment.path.unlink(missing_ok=True)
                (self.folder / _LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # somebody put other files there
                    self.folder.rmdir()
            os.close(self._descriptor)

    def abandon(self) -> None:
        """Close this process's copies after a fork; the folder is the parent's."""
        for descriptor in (self._active, self._descriptor):
            if descriptor is not None:
                os.close(descriptor)

    def entries(self) -> Iterator[Entry]:
        """What a dead process left here, in order."""
        for path in sorted(self.folder.glob("*.seg")):
            segment = _Segment(path, size=path.stat().st_size)
            self._segments.append(segment)
            self.size += segment.size
            found = list(_scan(path))
            segment.live = len(found)
            for offset, length, partition, spans in found:
                yield Entry(
                    spool=self,
                    segment=segment,
                    offset=offset,
                    length=length,
                    partition=partition,
                    spans=spans,
                )

    def _roll(self) -> None:
        if self._active is not None:
            os.close(self._active)
        path = self.folder / f"{len(list(self.folder.glob('*.seg'))):08d}.seg"
        while path.exists():  # an older one is gone and a newer one is not
            path = path.with_name(f"{int(path.stem) + 1:08d}.seg")
        self._active = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._segments.append(_Segment(path))


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _scan(path: Path) -> Iterator[tuple[int, int, int, int]]:
    """(offset, length, partition, spans) of each whole frame, up to a torn tail."""
    data = path.read_bytes()
    at = 0
    while at + _FRAME.size <= len(data):
        magic, partition, spans, length, checksum = _FRAME.unpack_from(data, at)
        start = at + _FRAME.size
        body = data[start : start + length]
        if magic != _MAGIC or len(body) < length or zlib.crc32(body) != checksum:
            break
        yield start, length, partition, spans
        at = start + length
    if at < len(data):
        logger.warning("%s ends in %d bytes of a torn frame: left out", path, len(data) - at)


def open_spool(directory: Path, producer: str, *, fsync: bool) -> Spool:
    """Make and lock the folder of an incarnation.

    Raises:
        SpoolError: the directory cannot be written.
    """
    hidden, folder = directory / f".{producer}", directory / producer
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        hidden.mkdir(mode=0o700)
        descriptor = os.open(hidden / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(folder)  # nobody sees it before it is locked
    except OSError as error:
        raise SpoolError(
            f"the spool directory {directory} cannot be used ({error}): "
            "name a folder that this user may write, or set spool_directory to None"
        ) from error
    return Spool(folder, descriptor, fsync=fsync)


def left_behind(directory: Path) -> list[Spool]:
    """Lock and return the folders of processes that have died, oldest first."""
    found = []
    for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
        if folder.name.startswith("."):
            continue
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR)
        except FileNotFoundError:
            with contextlib.suppress(OSError):  # half removed, or not ours
                folder.rmdir()
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # its owner lives
            os.close(descriptor)
            continue
        if not (folder / _LOCK).exists():  # its owner removed it meanwhile
            os.close(descriptor)
            continue
        found.append(Spool(folder, descriptor))
    return found


def remembered_partitions(directory: Path, topic: str) -> int | None:
    """The topic's partition count as a broker last said it; None: never asked."""
    try:
        counts: dict[str, int] = json.loads((directory / _PARTITIONS).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        logger.warning("%s is unreadable (%s): asking the broker", directory / _PARTITIONS, error)
        return None
    return counts.get(topic)


def remember_partitions(directory: Path, topic: str, count: int) -> None:
    """Keep a topic's partition count for starts with the broker away. Raises OSError."""
    scratch = directory / f".{_PARTITIONS}.{os.getpid()}"
    scratch.write_text(json.dumps({topic: count}))
    scratch.replace(directory / _PARTITIONS)
