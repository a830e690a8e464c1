"""A worker finds all episodes that the tables know, and the benchmark of it counts them."""

import json

import pytest
from benchmarks.streams import restart


def test_a_restart_is_timed_where_the_tables_know_many_episodes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert restart.main(["--dry", "--episodes", "3000", "--runs", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["episodes"] == 3000
    assert [load["known"] for load in found["loads"]] == [3000]
