"""A worker's heartbeat, as written and as read."""

from pathlib import Path

import pytest

from headrace.connectors.worker.heartbeat import read_heartbeat, write_heartbeat


def test_a_heartbeat_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "run" / "assemble-0.json"
    for beat in range(3):
        write_heartbeat(file, {"beat": beat, "ready": True})
    assert read_heartbeat(file) == {"beat": 2, "ready": True}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "content",
    [None, b"", b'{"ready": tr', b"[1, 2]", b"7", b"\xff\xfe\x00"],
    ids=["missing", "empty", "half written", "a list", "a number", "no text"],
)
def test_what_is_no_report_says_nothing_yet(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "trainer.json"
    if content is not None:
        file.write_bytes(content)
    assert read_heartbeat(file) == {}
