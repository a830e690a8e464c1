"""Numbered SQL migrations with checksums.

A folder holds `NNNN_verb_object.sql`, numbered from 0001 without gaps; statements end in `;`. They
run one by one, so each is written to be repeatable (IF NOT EXISTS): a run that broke off is simply
repeated. Names in them carry no database: it is the client's. Habits taken from snuba's runner
(status rows in a ReplacingMergeTree, strict order) without its operation objects.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headrace.connectors.clickhouse.client import ClickHouse
from headrace.connectors.clickhouse.errors import MigrationError
from headrace.connectors.clickhouse.sql import tokens

logger = logging.getLogger(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
TABLE = "schema_migrations"

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_STARTED, _APPLIED = 1, 2
_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    migration UInt32,
    name String,
    checksum String,
    status Enum8('started' = {_STARTED}, 'applied' = {_APPLIED}),
    at DateTime64(3, 'UTC') DEFAULT now64(3),
    version UInt8
) ENGINE = ReplacingMergeTree(version) ORDER BY migration
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Migration:
    """One file: `number` and `name` from its name, SHA-256 of its bytes, its statements."""

    number: int
    name: str
    checksum: str
    statements: tuple[str, ...]

    @classmethod
    def load(cls, directory: Path = MIGRATIONS) -> list["Migration"]:
        """The migrations of a folder, in order.

        Raises:
            MigrationError: a misnamed file, a number used twice or left out, a file without SQL.
        """
        loaded = [_read(path) for path in sorted(directory.glob("*.sql"))]
        for expected, migration in enumerate(loaded, 1):
            if migration.number != expected:
                raise MigrationError(
                    f"{directory}: {migration.name} is where number {expected:04d} should be: "
                    "numbers start at 0001, are used once and leave no gap; rename the files"
                )
        return loaded


def split(sql: str) -> list[str]:
    """The statements of a text, without their `;`; comments before a statement stay with it."""
    text = sql.encode()
    pieces, start, has_code = [], 0, False
    for token in tokens(text):
        if token.text == b";" and token.depth <= 0:
            if has_code:
                pieces.append(text[start : token.start].decode().strip())
            start, has_code = token.end, False
        else:
            has_code = True
    if has_code:
        pieces.append(text[start:].decode().strip())
    return pieces


def pending(client: ClickHouse, directory: Path = MIGRATIONS) -> list[Migration]:
    """The migrations of `directory` that the client's database still lacks, in order.

    Raises:
        MigrationError: an applied file was changed or removed, or an earlier one was left out.
    """
    migrations = Migration.load(directory)
    applied = _applied(client)
    _check(migrations, applied, directory)
    return [migration for migration in migrations if migration.number not in applied]


def apply(client: ClickHouse, directory: Path = MIGRATIONS, *, dry_run: bool = False) -> list[str]:
    """Applies what is pending and returns the names; with `dry_run` only returns them.

    Raises:
        MigrationError: as `pending`.
        ClickHouseError: a statement failed; what ran before it stays, run again once it is mended.
    """
    if dry_run:
        return [migration.name for migration in pending(client, directory)]
    client.ensure_database()
    client.command(_CREATE)
    done = []
    for migration in pending(client, directory):
        _record(client, migration, _STARTED)
        for statement in migration.statements:
            client.command(statement)
        _record(client, migration, _APPLIED)
        logger.info("migration %s applied", migration.name)
        done.append(migration.name)
    return done


def live_schema(client: ClickHouse) -> dict[str, dict[str, str]]:
    """Tables and views of the client's database: column names and ClickHouse types, in order.

    Without columns that are told from others (ALIAS): nothing is stored in them.
    """
    rows = client.query(
        "SELECT table, name, type FROM system.columns WHERE database = {database:String} "
        "AND NOT startsWith(table, '.inner') AND table != {own:String} AND default_kind != 'ALIAS' "
        "ORDER BY table, position",
        {"database": client.config.database, "own": TABLE},
    )
    schema: dict[str, dict[str, str]] = {}
    for row in rows:
        schema.setdefault(str(row["table"]), {})[str(row["name"])] = str(row["type"])
    return schema


def declared_schema(client: ClickHouse, directory: Path = MIGRATIONS) -> dict[str, dict[str, str]]:
    """What `directory` declares, found by applying it to a scratch database on the same server."""
    scratch = ClickHouse(replace(client.config, database=f"{client.config.database}_declared"))
    drop = f"DROP DATABASE IF EXISTS {scratch.config.database} SYNC"
    try:
        client.command(drop)
        apply(scratch, directory)
        return live_schema(scratch)
    finally:
        client.command(drop)
        scratch.close()


def _read(path: Path) -> Migration:
    named = _NAME.fullmatch(path.name)
    if named is None:
        raise MigrationError(
            f"{path}: name migrations NNNN_verb_object.sql, for example 0007_add_x.sql"
        )
    text = path.read_bytes()
    statements = split(text.decode())
    if not statements:
        raise MigrationError(f"{path} has no statement; an empty migration is not allowed")
    return Migration(
        number=int(named[1]),
        name=path.stem,
        checksum=hashlib.sha256(text).hexdigest(),
        statements=tuple(statements),
    )


def _applied(client: ClickHouse) -> dict[int, tuple[str, str]]:
    """Name and checksum of each applied migration; none if the table does not exist."""
    known = client.query(
        "SELECT 1 FROM system.tables WHERE database = {database:String} AND name = {own:String}",
        {"database": client.config.database, "own": TABLE},
    )
    if not known:
        return {}
    rows = client.query(
        f"SELECT migration, name, checksum FROM {TABLE} FINAL WHERE status = 'applied'"
    )
    return {int(str(row["migration"])): (str(row["name"]), str(row["checksum"])) for row in rows}


def _check(
    migrations: Sequence[Migration], applied: dict[int, tuple[str, str]], directory: Path
) -> None:
    files = {migration.number: migration for migration in migrations}
    for number, (name, checksum) in sorted(applied.items()):
        if number not in files:
            raise MigrationError(
                f"{name} was applied, but {directory} has no such file: the database is newer than "
                "this code, or the file was removed; use the code that has it"
            )
        if files[number].checksum != checksum:
            raise MigrationError(
                f"{directory / name}.sql was changed after it was applied: restore it and put the "
                "change into a new migration"
            )
    last = max(applied, default=0)
    for migration in migrations:
        if migration.number < last and migration.number not in applied:
            raise MigrationError(
                f"{migration.name} was left out, but {applied[last][0]} after it was applied: "
                "give it the next free number"
            )


def _record(client: ClickHouse, migration: Migration, status: int) -> None:
    client.command(
        f"INSERT INTO {TABLE} (migration, name, checksum, status, version) VALUES ("
        f"{migration.number}, '{migration.name}', '{migration.checksum}', {status}, {status})"
    )
