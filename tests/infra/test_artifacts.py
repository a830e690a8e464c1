"""The cache of downloads: verified once, then only looked at."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from headrace.infra.embedded import artifacts
from headrace.infra.errors import SetupError

CONTENT = {"a-1.jar": b"first jar", "b-2.jar": b"second jar"}


class Repository:
    """Stands in for the downloads of the Maven client: files by name, counted."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.failures = 0

    def resolve(self, artifact: object) -> Path:
        path: Path = artifact.cached_path  # type: ignore[attr-defined]  # jgo's own class
        if path.exists():
            return path
        self.asked.append(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.failures:
            self.failures -= 1
            path.write_bytes(b"half a fi")  # what a broken connection leaves
            raise ConnectionError("connection reset")
        path.write_bytes(self.files[path.name])
        return path


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    served = Repository(dict(CONTENT))
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JGO_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("jgo.maven.Artifact.resolve", lambda self: served.resolve(self))
    monkeypatch.setattr(
        artifacts, "locked", lambda part: [_locked(n, c) for n, c in CONTENT.items()]
    )
    return served


def _locked(name: str, content: bytes, *, packaging: str = "jar") -> artifacts.Artifact:
    stem, _, rest = name.partition("-")
    return artifacts.Artifact(
        part="kafka",
        group="org.example",
        name=stem,
        packaging=packaging,
        classifier="",
        version=rest.removesuffix(f".{packaging}"),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def test_files_are_fetched_once_and_found_afterwards(repository: Repository) -> None:
    assert artifacts.missing() == ["kafka", "registry"]
    folder = artifacts.ensure_kafka()
    assert {path.name: path.read_bytes() for path in folder.glob("*.jar")} == CONTENT
    assert artifacts.missing() == ["registry"]
    assert artifacts.ensure_kafka() == folder
    assert sorted(repository.asked) == sorted(CONTENT)


def test_a_file_with_another_content_is_refused_and_not_kept(
    repository: Repository, tmp_path: Path
) -> None:
    repository.files["b-2.jar"] = b"wicked jar"  # as long as the right one
    with pytest.raises(SetupError, match=r"org\.example:b:jar:2 .*SHA-256"):
        artifacts.ensure_kafka()
    assert artifacts.missing() == ["kafka", "registry"]
    assert not list((tmp_path / "cache").rglob("b-2.jar"))


def test_a_broken_connection_is_tried_again(repository: Repository) -> None:
    repository.failures = 2
    folder = artifacts.ensure_kafka()
    assert {path.name for path in folder.glob("*.jar")} == set(CONTENT)


def test_after_giving_up_what_arrived_is_not_fetched_again(repository: Repository) -> None:
    del repository.files["b-2.jar"]
    with pytest.raises(KeyError):
        artifacts.ensure_kafka()
    repository.files["b-2.jar"] = CONTENT["b-2.jar"]
    artifacts.ensure_kafka()
    assert repository.asked.count("a-1.jar") == 1


def test_no_network_says_what_to_do(repository: Repository) -> None:
    repository.failures = 1000
    with pytest.raises(SetupError, match="check the network"):
        artifacts.ensure_kafka()


def test_a_missing_or_cut_file_is_noticed_and_mended(repository: Repository) -> None:
    folder = artifacts.ensure_kafka()
    (folder / "a-1.jar").write_bytes(b"fir")
    assert artifacts.missing() == ["kafka", "registry"]
    artifacts.ensure_kafka()
    assert (folder / "a-1.jar").read_bytes() == CONTENT["a-1.jar"]


def test_concurrent_callers_fetch_once(repository: Repository) -> None:
    threads = [threading.Thread(target=artifacts.ensure_kafka) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(repository.asked) == sorted(CONTENT)


def test_a_cache_that_cannot_be_written_names_the_setting(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(SetupError, match="HEADRACE_CACHE"):
        artifacts.ensure_kafka()


def test_progress_ends_at_the_whole(repository: Repository) -> None:
    seen: list[tuple[str, int, int | None]] = []
    folder = artifacts.ensure_kafka()
    (folder / "a-1.jar").unlink()
    del repository.asked[:]
    # A finished download that was interrupted before it was installed counts as done.
    staged = artifacts.cache_dir() / ".download-kafka"
    for name, content in CONTENT.items():
        lock = _locked(name, content)
        path = staged / "org" / "example" / lock.name / lock.version / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    artifacts.ensure_kafka(lambda *event: seen.append(event))
    total = sum(map(len, CONTENT.values()))
    assert seen[-1] == ("kafka", total, total)
    assert not repository.asked


def test_an_archive_is_unpacked_and_may_not_write_outside(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def archive(name: str) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"run"))
        return buffer.getvalue()

    def serve(content: bytes) -> None:
        repository.files["app-3.tar.gz"] = content
        lock = _locked("app-3.tar.gz", content, packaging="tar.gz")
        monkeypatch.setattr(artifacts, "locked", lambda part: [lock])

    serve(archive("../outside"))
    with pytest.raises(SetupError, match="cannot unpack"):
        artifacts.ensure_registry()
    assert not (tmp_path / "cache" / "outside").exists()
    serve(archive("lib/quarkus-run.jar"))
    folder = artifacts.ensure_registry()
    assert (folder / "lib" / "quarkus-run.jar").read_bytes() == b"run"
    assert json.loads((folder / "headrace-manifest.json").read_text()) == {"lib/quarkus-run.jar": 3}


def test_the_lock_names_each_file_once_with_its_checksum() -> None:
    for part, count in (("kafka", 45), ("registry", 1)):
        found = artifacts.locked(part)
        assert len({artifact.coordinates for artifact in found}) == len(found) == count
        assert all(len(artifact.sha256) == 64 and artifact.size > 0 for artifact in found)
