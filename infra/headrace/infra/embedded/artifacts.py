"""The Java parts: fetched once from Maven's repository, verified, kept in a per-user cache.

`artifacts.lock` names every file with its size and SHA-256, so what runs is exactly what was
tested and no dependency is resolved on a user's machine. (When the lock was made, each file was
compared with the checksum published beside it.) Later starts check presence and sizes only.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from headrace.infra.errors import SetupError

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]
"""Called with (part, bytes so far, bytes in all) while a part is fetched; from any thread."""

CACHE_VARIABLE = "HEADRACE_CACHE"
DOWNLOAD_MEGABYTES = {"kafka": 45, "registry": 159}
"""What each part downloads, for saying so beforehand."""
DIRECTORIES = {"kafka": "kafka-4.4.0", "registry": "apicurio-registry-3.3.3"}

_MANIFEST = "headrace-manifest.json"
_ATTEMPTS = 3
_PARALLEL = 4
_TIMEOUT_S = 60


@dataclass(kw_only=True, slots=True, frozen=True)
class Artifact:
    """One file of `artifacts.lock`."""

    part: str
    group: str
    name: str
    packaging: str
    classifier: str
    version: str
    size: int
    sha256: str

    @property
    def coordinates(self) -> str:
        """The Maven coordinates, group:name:packaging[:classifier]:version."""
        fields = (self.group, self.name, self.packaging, self.classifier, self.version)
        return ":".join(field for field in fields if field)


def cache_dir() -> Path:
    """Return the cache directory: $HEADRACE_CACHE, or the user's own cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("headrace"))


def locked(part: str) -> list[Artifact]:
    """Return the files that a part ("kafka" or "registry") consists of."""
    text = (resources.files(__package__) / "artifacts.lock").read_text()
    artifacts = [_parse(line) for line in text.splitlines()]
    return [artifact for artifact in artifacts if artifact.part == part]


def missing() -> list[str]:
    """Return the parts that still have to be downloaded, in order."""
    return [part for part in DIRECTORIES if not _complete(cache_dir() / DIRECTORIES[part])]


def ensure_kafka(progress: Progress | None = None) -> Path:
    """Return the directory with the broker's jars, fetching them if they are not there.

    Raises:
        SetupError: a file could not be fetched or does not have the expected checksum.
    """
    return _ensure("kafka", _collect_jars, progress)


def ensure_registry(progress: Progress | None = None) -> Path:
    """Return the directory of the unpacked registry, fetching it if it is not there.

    Raises:
        SetupError: the archive could not be fetched, verified or unpacked.
    """
    return _ensure("registry", _unpack, progress)


def _parse(line: str) -> Artifact:
    part, coordinates, size, sha256 = line.split()
    group, name, packaging, *classifier, version = coordinates.split(":")
    return Artifact(
        part=part,
        group=group,
        name=name,
        packaging=packaging,
        classifier="".join(classifier),
        version=version,
        size=int(size),
        sha256=sha256,
    )


def _ensure(
    part: str, install: Callable[[list[Path], Path], None], progress: Progress | None
) -> Path:
    target = cache_dir() / DIRECTORIES[part]
    if _complete(target):
        return target
    with _exclusive(part):
        if _complete(target):  # another process fetched it while this one waited
            return target
        # The staging folders are kept when interrupted: what verifies is not fetched again.
        download, staging = cache_dir() / f".download-{part}", cache_dir() / f".install-{part}"
        files = _fetch(part, download, progress)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        install(files, staging)
        _write_manifest(staging)
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
        shutil.rmtree(download)
    logger.info("%s is in %s", part, target)
    return target


@contextlib.contextmanager
def _exclusive(part: str) -> Iterator[None]:
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        lock = (cache_dir() / f".{part}.lock").open("w")
    except OSError as error:
        raise SetupError(
            f"cannot write to the cache {cache_dir()} ({error}): "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by closing, also when the process dies
        yield


def _fetch(part: str, folder: Path, progress: Progress | None) -> list[Path]:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext, PythonResolver

    artifacts = locked(part)
    meter = _Meter(part, sum(artifact.size for artifact in artifacts), progress)
    context = MavenContext(
        resolver=PythonResolver(progress_callback=meter.file),
        repo_cache=folder,
        # A user's own mirrors, if jgo's settings file names any.
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=_TIMEOUT_S,
    )

    def fetch_one(artifact: Artifact) -> Path:
        component = context.project(artifact.group, artifact.name).at_version(artifact.version)
        remote = component.artifact(classifier=artifact.classifier, packaging=artifact.packaging)
        path = remote.cached_path
        assert path is not None
        if path.exists():
            if _verified(path, artifact):
                meter.add(artifact.size)
                return path
            path.unlink()
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                remote.resolve()
            except (OSError, RuntimeError) as error:  # requests' errors are OSErrors
                path.unlink(missing_ok=True)
                if attempt == _ATTEMPTS:
                    raise SetupError(
                        f"cannot download {artifact.coordinates} ({error}): check the network and "
                        "start again; what has arrived is kept"
                    ) from error
                logger.warning("download of %s failed, again: %s", artifact.coordinates, error)
                continue
            if _verified(path, artifact):
                return path
            path.unlink()
        raise SetupError(
            f"{artifact.coordinates} does not have the expected SHA-256 {artifact.sha256}: "
            "the repository or something on the way to it serves another file; it was removed"
        )

    with ThreadPoolExecutor(_PARALLEL) as pool:
        return list(pool.map(fetch_one, artifacts))


class _Meter:
    """Adds up the bytes of parallel downloads and reports them."""

    def __init__(self, part: str, total: int, progress: Progress | None) -> None:
        self._part, self._total, self._progress = part, total, progress
        self._done = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done = min(self._done + count, self._total)  # a second try may overshoot
            if self._progress is not None:
                self._progress(self._part, self._done, self._total)

    @contextlib.contextmanager
    def file(self, name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield self.add


def _verified(path: Path, artifact: Artifact) -> bool:
    if path.stat().st_size != artifact.size:
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == artifact.sha256


def _collect_jars(files: list[Path], target: Path) -> None:
    for file in files:
        shutil.copyfile(file, target / file.name)


def _unpack(files: list[Path], target: Path) -> None:
    for file in files:
        try:
            with tarfile.open(file) as archive:
                archive.extractall(target, filter="data")
        except (tarfile.TarError, OSError) as error:
            raise SetupError(
                f"cannot unpack {file.name} into {target} ({error}): free some disk space there"
            ) from error


def _write_manifest(folder: Path) -> None:
    sizes = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / _MANIFEST).write_text(json.dumps(sizes, indent=0))


def _complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _MANIFEST).read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return False
