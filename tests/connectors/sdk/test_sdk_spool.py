"""The spool: what was appended is read back, torn tails and living owners are respected."""

from pathlib import Path

import pytest

from headrace.connectors.sdk import SpoolError
from headrace.connectors.sdk import spool as spools


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*/*.seg"))


def adopt(directory: Path) -> tuple[spools.Spool, list[spools.Entry]]:
    (found,) = spools.left_behind(directory)
    return found, list(found.entries())


def test_what_a_dead_process_left_is_read_back_in_order(tmp_path: Path) -> None:
    spool = spools.open_spool(tmp_path, "01A", fsync=True)
    entries = [spool.append(partition, 2, b"body %d" % partition) for partition in range(3)]
    assert [entry.read() for entry in entries] == [b"body 0", b"body 1", b"body 2"]
    spool.close()

    _, found = adopt(tmp_path)
    assert [(e.partition, e.spans, e.read()) for e in found] == [
        (0, 2, b"body 0"),
        (1, 2, b"body 1"),
        (2, 2, b"body 2"),
    ]


@pytest.mark.parametrize("torn_bytes", [1, 5, 19, 21, 25])
def test_a_torn_tail_is_left_out(tmp_path: Path, torn_bytes: int) -> None:
    spool = spools.open_spool(tmp_path, "01A", fsync=False)
    spool.append(0, 1, b"whole body")
    spool.append(1, 1, b"torn bodyX")
    spool.close()
    (segment,) = segments(tmp_path)
    segment.write_bytes(segment.read_bytes()[:-torn_bytes])
    _, found = adopt(tmp_path)
    assert [entry.read() for entry in found] == [b"whole body"]


def test_a_flipped_bit_ends_the_segment(tmp_path: Path) -> None:
    spool = spools.open_spool(tmp_path, "01A", fsync=False)
    spool.append(0, 1, b"first")
    spool.append(0, 1, b"second")
    spool.close()
    (segment,) = segments(tmp_path)
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(bytes(data))
    _, found = adopt(tmp_path)
    assert [entry.read() for entry in found] == [b"first"]


def test_the_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    alive = spools.open_spool(tmp_path, "01A", fsync=False)
    alive.append(0, 1, b"mine")
    assert spools.left_behind(tmp_path) == []
    alive.close()
    assert len(spools.left_behind(tmp_path)) == 1


def test_delivered_batches_free_the_disk_and_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 50)
    spool = spools.open_spool(tmp_path, "01A", fsync=False)
    entries = [spool.append(0, 1, bytes(40)) for _ in range(4)]
    assert len(segments(tmp_path)) == 4
    for entry in entries[:3]:
        entry.remove()
    assert len(segments(tmp_path)) == 1
    assert not spool.empty
    entries[3].remove()
    assert (spool.empty, spool.size) == (True, 0)
    again = spool.append(0, 1, b"after it was emptied")
    assert again.read() == b"after it was emptied"
    again.remove()
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_segments_of_dead_and_living_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 10)
    spool = spools.open_spool(tmp_path, "01A", fsync=False)
    entries = [spool.append(0, 1, b"%d" % i) for i in range(3)]
    entries[0].remove()  # a number is free again below ones in use
    more = [spool.append(0, 1, b"more %d" % i) for i in range(2)]
    assert [entry.read() for entry in (*entries[1:], *more)] == [b"1", b"2", b"more 0", b"more 1"]
    spool.close()
    _, found = adopt(tmp_path)
    assert len(found) == 4


def test_the_partition_count_is_remembered(tmp_path: Path) -> None:
    assert spools.remembered_partitions(tmp_path, "t") is None
    spools.remember_partitions(tmp_path, "t", 8)
    assert spools.remembered_partitions(tmp_path, "t") == 8
    (tmp_path / "partitions.json").write_text("{")
    assert spools.remembered_partitions(tmp_path, "t") is None


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="file"):
        spools.open_spool(tmp_path / "file", "01A", fsync=False)
