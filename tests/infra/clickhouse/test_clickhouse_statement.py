"""The lexer that splits INSERTs from their data and refuses client-side files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.clickhouse.sql import tokens
from headrace.infra.embedded.clickhouse.errors import QueryError
from headrace.infra.embedded.clickhouse.statement import find_insert, inspect, inspect_values

GAPS = st.lists(
    st.sampled_from(
        [
            "  ",
            "\t",
            "\n",
            "/* a */",
            "/* /* nested */ ' */",
            "-- it's\n",
            "# x\n",
            "\u00a0",
            "#!y\n",
        ]
    ),
    min_size=1,
    max_size=4,
).map("".join)


@given(st.binary(max_size=200))
def test_tokens_cover_any_bytes_in_order_and_end(text: bytes) -> None:
    at = 0
    for token in tokens(text):
        assert at <= token.start < token.end <= len(text)
        assert text[token.start : token.end] == token.text
        at = token.end


@given(st.binary(max_size=100), GAPS)
def test_data_of_an_insert_arrives_untouched(data: bytes, gap: str) -> None:
    lead = f"INSERT{gap} INTO `format` (a, `select`){gap} FORMAT RowBinary\n".encode()
    head = find_insert(lead + data)
    assert head is not None
    assert head.format == "RowBinary"
    assert (lead + data)[head.data_at :] == data
    assert b"FORMAT" not in head.sql


@pytest.mark.parametrize(
    ("sql", "form", "rest"),
    [
        ("INSERT INTO t FORMAT TSV\n\nx", "TSV", "\nx"),
        ("insert into t format JSONEachRow {}", "JSONEachRow", "{}"),
        ("INSERT INTO t VALUES (1)", "Values", " (1)"),
        ("INSERT INTO values VALUES (1)", "Values", " (1)"),
        ("INSERT INTO t FORMAT Values (1)", "Values", "(1)"),
        ("INSERT INTO t (a) FORMAT VALUES\n(1)", "VALUES", "(1)"),
        ("INSERT INTO values (format, values) SETTINGS a = 1 FORMAT values;(1)", "values", "(1)"),
        ("INSERT INTO db.format FORMAT CSV ; \n1", "CSV", "1"),
        ("INSERT INTO TABLE t (a) SETTINGS async_insert = 0 VALUES (1)", "Values", " (1)"),
        ("-- SELECT\nINSERT INTO t (`a b`) FORMAT Native\n", "Native", ""),
        ("INSERT t FORMAT CSV\n1", "CSV", "1"),
    ],
)
def test_insert_heads(sql: str, form: str, rest: str) -> None:
    head = find_insert(sql.encode())
    assert head is not None
    assert (head.format, sql.encode()[head.data_at :].decode()) == (form, rest)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 FORMAT TSV",
        "INSERT INTO t SELECT 1",
        "INSERT INTO t WITH 1 AS x SELECT x",
        "INSERT INTO t (a, b)",
        "INSERT INTO t (SELECT format, values FROM u)",
        "",
    ],
)
def test_statements_without_data_are_not_split(sql: str) -> None:
    assert find_insert(sql.encode()) is None


@given(GAPS, st.sampled_from(["'/etc/x'", "$$/etc/x$$", "\u2018/etc/x\u2019"]))
def test_outfile_is_refused_however_it_is_written(gap: str, target: str) -> None:
    with pytest.raises(QueryError, match="497"):
        inspect(f"SELECT 1 iNtO{gap}OutFile{gap}{target} FORMAT TSV".encode())
    with pytest.raises(QueryError, match="497"):
        inspect(f"INSERT INTO t FROM{gap}INFILE{gap}{target} FORMAT TSV".encode())


def test_infile_is_refused_before_its_data_is_looked_for() -> None:
    with pytest.raises(QueryError, match="FROM INFILE"):
        find_insert(b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT LineAsString")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file('/etc/passwd')",
        "SELECT 1, file /* a */ ('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        'SELECT "file" (p) FROM t',
        "SELECT `fi\\x6ce`('/etc/passwd')",
        "SELECT \u201cfile\u201d('/etc/passwd')",
        "SELECT arrayMap(p -> file(p), ['/etc/passwd'])",
        "SELECT * APPLY file FROM (SELECT '/etc/passwd')",
        "SELECT * APPLY(file) FROM (SELECT '/etc/passwd')",
        "INSERT INTO t SELECT file('/etc/passwd')",
        "CREATE FUNCTION f AS p -> file(p)",
    ],
)
def test_the_function_that_reads_files_is_refused(sql: str) -> None:
    with pytest.raises(QueryError, match="the function file"):
        inspect(sql.encode())


def test_values_are_literals_or_expressions_that_read_no_file() -> None:
    inspect_values(b"(1, 'file(x)', now()), (2, 'a \\' file(', profile(3))")
    for data in ("(file('x'))", "(1), (`file`('x'))", "(1 + length(file ('x')))"):
        with pytest.raises(QueryError, match="the function file"):
            inspect_values(data.encode())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT file, count(file), (file) FROM t",
        "SELECT 'file(x)', profile(x), file.a FROM file",
        "SELECT 'x INTO OUTFILE ''y'''",
        "SELECT 1 -- INTO OUTFILE 'x'",
        "SELECT /* INTO OUTFILE 'x' /* */ */ 1",
        "SELECT \"INTO\", `OUTFILE`, 'x'",
        "SELECT a FROM infile WHERE b = 'x'",
        "SELECT $a$ INTO OUTFILE 'x' $a$",
    ],
)
def test_harmless_mentions_of_files_pass(sql: str) -> None:
    assert inspect(sql.encode()).verb == "SELECT"


def test_one_statement_at_a_time() -> None:
    assert inspect(b" SELECT ';' ; -- done").verb == "SELECT"
    with pytest.raises(QueryError, match="Multi-statements"):
        inspect(b"SELECT 1; DROP TABLE t")
    with pytest.raises(QueryError, match="Empty query"):
        inspect(b" ; -- nothing\n")


@pytest.mark.parametrize(
    ("sql", "form"),
    [
        ("SELECT 1 FORMAT JSON", "JSON"),
        ("SELECT 1 format Native SETTINGS a = 1", "Native"),
        ("SELECT format FROM t", None),
        ("SELECT (SELECT 1 FORMAT TSV)", None),
        ("SELECT 1", None),
    ],
)
def test_output_format(sql: str, form: str | None) -> None:
    assert inspect(sql.encode()).format == form


@pytest.mark.parametrize(
    ("sql", "stateful", "streams"),
    [
        ("SET max_threads = 1", True, False),
        ("USE x", True, False),
        ("CREATE TEMPORARY TABLE t (a UInt8)", True, False),
        ("CREATE OR REPLACE TEMPORARY TABLE t (a UInt8)", True, False),
        ("CREATE TABLE temporary (a UInt8) ENGINE = Memory", True, False),
        ("SELECT temporary FROM t", False, True),
        ("WITH 1 AS x SELECT x", False, True),
        ("SHOW TABLES", False, False),
        ("INSERT INTO t SELECT 1", False, False),
    ],
)
def test_what_a_statement_needs(sql: str, stateful: bool, streams: bool) -> None:
    # A table called `temporary` costs its session a connection of its own, and nothing else.
    statement = inspect(sql.encode())
    assert (statement.stateful, statement.streams) == (stateful, streams)
