"""The data of an INSERT: the bytes that were added, under a name, in memory or on disk."""

import os
import sys
from pathlib import Path

import pytest

from headrace.infra.embedded.clickhouse.errors import NOT_ENOUGH_SPACE, QueryError
from headrace.infra.embedded.clickhouse.insert_data import InsertData

BLOCKS = [b"one", b"", b"two" * 100, b"three"]


@pytest.mark.parametrize("in_memory_bytes", [0, 3, 150, 1000])
def test_every_byte_is_under_its_name(tmp_path: Path, in_memory_bytes: int) -> None:
    with InsertData(tmp_path, in_memory_bytes) as data:
        assert data.empty
        for block in BLOCKS:
            data.add(block)
        assert not data.empty
        assert Path(data.path).read_bytes() == b"".join(BLOCKS)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is a file from the start")
def test_small_ones_touch_no_disk(tmp_path: Path) -> None:
    with InsertData(tmp_path / "not there", 10) as data:
        data.add(b"small")
        assert Path(data.path).read_bytes() == b"small"
        with pytest.raises(QueryError, match=os.strerror(2)) as caught:
            data.add(b"beyond the bound")
        assert caught.value.code == NOT_ENOUGH_SPACE
