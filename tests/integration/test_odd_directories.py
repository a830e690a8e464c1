"""A data directory of any name holds the data of the embedded parts, and nothing lies beside it."""

from pathlib import Path

import pytest

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import KafkaConfig, partitions_of
from headrace.infra.embedded.stack import running_stack

NAME = " zürich, 東京 🦦 \\ ?&#=:!%20;'\"<>[]{}$(x) "


def test_the_parts_keep_their_data_under_a_folder_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    home = tmp_path / NAME / ".headrace"
    home.mkdir(parents=True)
    with running_stack(home, names=("kafka", "clickhouse")) as stack:
        clickhouse = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url))
        migrate.apply(clickhouse)
        clickhouse.close()
        stack.kill("kafka")
        assert partitions_of(KafkaConfig(bootstrap=stack.bootstrap), "headrace.spans") == 8
    assert (home / "kafka" / "data" / "headrace.spans-0").is_dir()
    assert (home / "clickhouse" / "data" / "metadata").is_dir()
    assert [entry.name for entry in tmp_path.iterdir()] == [NAME]
    assert [entry.name for entry in (tmp_path / NAME).iterdir()] == [".headrace"]
