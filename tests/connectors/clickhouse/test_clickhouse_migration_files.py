"""Migration files: order, names, statements. What the database says is tested with the server."""

import re
from pathlib import Path

import pytest

from headrace.connectors.clickhouse.errors import MigrationError
from headrace.connectors.clickhouse.migrate import Migration, split


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.removeprefix('m')}.sql").write_text(text)
    return folder


def test_files_load_in_order_with_their_statements(tmp_path: Path) -> None:
    write(tmp_path, m0002_add_b="SELECT 2;", m0001_create_a="SELECT 1;\nSELECT ';';\n-- end;\n")
    loaded = Migration.load(tmp_path)
    assert [(m.number, m.name) for m in loaded] == [(1, "0001_create_a"), (2, "0002_add_b")]
    assert loaded[0].statements == ("SELECT 1", "SELECT ';'")


def test_the_checksum_is_of_the_bytes(tmp_path: Path) -> None:
    before = Migration.load(write(tmp_path, m0001_a="SELECT 1;"))[0].checksum
    after = Migration.load(write(tmp_path, m0001_a="SELECT 1; -- note"))[0].checksum
    assert before != after


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"m0001_a": "SELECT 1;", "m0003_c": "SELECT 3;"}, "0003_c.*0002"),
        ({"m0001_a": "SELECT 1;", "m0001_b": "SELECT 1;"}, "0001_b.*0002"),
        ({"m1_a": "SELECT 1;"}, "NNNN_verb_object"),
        ({"m0001_a": "-- nothing\n;"}, "no statement"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        Migration.load(write(tmp_path, **files))


def test_comments_and_strings_do_not_split_statements() -> None:
    sql = "-- a; b\nCREATE TABLE t (a String DEFAULT ';') /* ; */;\n\nSELECT 1 -- no end"
    assert split(sql) == [
        "-- a; b\nCREATE TABLE t (a String DEFAULT ';') /* ; */",
        "SELECT 1 -- no end",
    ]


def test_the_shipped_migrations_can_be_repeated() -> None:
    repeatable = ("CREATE TABLE IF NOT EXISTS", "CREATE VIEW IF NOT EXISTS", "CREATE OR REPLACE")
    for migration in Migration.load():
        for statement in migration.statements:
            altered = "ALTER TABLE" in statement and "IF " in statement
            # Of rows it asks for those that are not yet as they should be.
            updated = " UPDATE " in statement and "\nWHERE " in statement
            described = re.search(r"^ALTER TABLE \w+\s+(COMMENT|MODIFY COMMENT)\s", statement)
            assert (
                altered or updated or described or any(words in statement for words in repeatable)
            ), f"{migration.name}: {statement[:80]}"
