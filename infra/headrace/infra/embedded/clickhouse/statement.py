"""What the front must know of a SQL text before the engine sees it.

ClickHouse's HTTP interface joins the statement and the data of an INSERT in one text, and
`INTO OUTFILE` / `FROM INFILE` are executed by whoever holds the connection, ignoring grants: both
need a lexer that agrees with ClickHouse's on strings, comments (nested), heredocs and quotes.
"""

import re
from dataclasses import dataclass

from headrace.connectors.clickhouse.sql import Token, tokens
from headrace.infra.embedded.clickhouse.errors import (
    ACCESS_DENIED,
    SYNTAX_ERROR,
    QueryError,
)

_DATA_LEAD = re.compile(rb"[ \t\r\f\v]*;?[ \t\r\f\v]*\n?")
_SESSION_VERBS = frozenset({"SET", "USE", "BEGIN", "COMMIT", "ROLLBACK"})
_READ_VERBS = frozenset(
    {"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "("}
)

_SUSPECT = re.compile(rb"file|[`\"\\\xe2]")  # without one of these no name is `file`
_QUOTES = '"`\u201c\u201d'.encode()  # of names, as ClickHouse has them


@dataclass(kw_only=True, slots=True, frozen=True)
class InsertHead:
    """`INSERT INTO t (a, b)` with its data elsewhere.

    `sql` is the text before SETTINGS, FORMAT or VALUES, `settings` that from SETTINGS on, `format`
    the input format, `data_at` the offset in the scanned text where data begins.
    """

    sql: bytes
    settings: bytes = b""
    format: str
    data_at: int


@dataclass(kw_only=True, slots=True, frozen=True)
class Statement:
    """A whole statement, checked: one statement, no client-side file access."""

    text: bytes
    verb: str
    format: str | None
    """The FORMAT that the text names, if any."""
    stateful: bool
    """It changes its session (SET, USE, temporary tables, transactions)."""
    totals: bool
    """It has WITH TOTALS, ROLLUP or CUBE, whose output is more than a run of rows."""

    @property
    def reads(self) -> bool:
        return self.verb in _READ_VERBS

    @property
    def streams(self) -> bool:
        return self.verb in ("SELECT", "WITH", "FROM", "(")


def find_insert(text: bytes) -> InsertHead | None:
    """Finds the end of an INSERT's statement where data follows it.

    Returns None for any other statement, INSERT .. SELECT included, and for an INSERT whose FORMAT
    or VALUES is not in `text`.

    Raises:
        QueryError: 497 for INSERT .. FROM INFILE.
    """
    scan = tokens(text)
    if not (first := next(scan, None)) or not first.is_word("INSERT"):
        return None
    before: Token = first
    settings: int | None = None
    for token in scan:
        named = before.is_word("INTO", "TABLE", "INSERT", "FUNCTION") or before.text == b"."
        if token.depth == 0 and not (named and not token.is_word("INTO")):
            if token.is_word("SELECT", "WITH"):
                return None
            if before.is_word("FROM") and token.is_word("INFILE"):
                raise _no_files("FROM INFILE")
            if before.is_word("FORMAT") and token.kind == "word":
                lead = _DATA_LEAD.match(text, token.end)
                at = lead.end() if lead else token.end
                return _head(text, settings, before.start, token.text.decode(), at)
            if token.is_word("VALUES"):
                return _head(text, settings, token.start, "Values", token.end)
            if token.is_word("SETTINGS") and settings is None:
                settings = token.start
        # A table may be called `format`: then the word after it is not a format's name.
        before = token if not named else _as_name(token)
    return None


def _head(text: bytes, settings: int | None, end: int, form: str, data_at: int) -> InsertHead:
    cut = end if settings is None else settings
    return InsertHead(sql=text[:cut], settings=text[cut:end], format=form, data_at=data_at)


def inspect(text: bytes) -> Statement:
    """Reads the statement's kind and refuses what the front must not pass on.

    Raises:
        QueryError: 62 for nothing or more than one statement; 497 for OUTFILE, INFILE
            and the function file.
    """
    scan = list(tokens(text))
    body = [token for token in scan if not (token.text == b";" and token.depth <= 0)]
    if not body:
        raise QueryError(SYNTAX_ERROR, "Empty query. (SYNTAX_ERROR)")
    first_end = next((t.start for t in scan if t.text == b";" and t.depth <= 0), len(text))
    if body[-1].start > first_end:
        raise QueryError(
            SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed). (SYNTAX_ERROR)"
        )
    _refuse_files(body)
    first = body[0]
    verb = first.text.upper().decode(errors="replace")
    words = [token.text.upper() for token in body[:4] if token.kind == "word"]
    temporary = verb in ("CREATE", "DROP", "REPLACE", "TRUNCATE") and b"TEMPORARY" in words
    return Statement(
        text=text,
        verb=verb,
        format=_output_format(body),
        stateful=verb in _SESSION_VERBS or temporary,
        totals=any(token.is_word("TOTALS", "ROLLUP", "CUBE") for token in body),
    )


def _as_name(token: Token) -> Token:
    if token.is_word("INTO", "TABLE", "FUNCTION"):
        return token
    return Token(kind="name", text=token.text, start=token.start, end=token.end, depth=token.depth)


def inspect_values(data: bytes) -> None:
    """Refuses data of the format Values that calls the function file: it may hold expressions.

    Raises:
        QueryError: 497.
    """
    if _SUSPECT.search(data):
        _refuse_files(list(tokens(data)))


def _refuse_files(body: list[Token]) -> None:
    # The engine has no right for its function `file`, which reads whatever its owner may read.
    for at, token in enumerate(body):
        names = [each.text.strip(_QUOTES).lower() for each in body[at : at + 3]]
        if names == [b"format", b"(", b"values"]:
            raise _no_files("the format Values as text")
        if _may_be_file(token) and _is_function(body[max(0, at - 2) : at], body[at + 1 : at + 2]):
            raise _no_files("the function file")
    for before, token, after in zip(body, body[1:], body[2:], strict=False):
        if after.kind not in ("string", "heredoc"):
            continue
        if before.is_word("INTO") and token.is_word("OUTFILE"):
            raise _no_files("INTO OUTFILE")
        if before.is_word("FROM") and token.is_word("INFILE"):
            raise _no_files("FROM INFILE")


def _is_function(before: list[Token], after: list[Token]) -> bool:
    """Whether a name between these is called, or applied to columns."""
    if any(token.is_word("APPLY") for token in before):
        return True
    is_table = bool(before) and before[-1].is_word("INTO", "TABLE")
    return not is_table and bool(after) and after[0].text == b"("


def _may_be_file(token: Token) -> bool:
    """Whether a name is `file`, or one in quotes that escapes may make so."""
    if token.kind == "word":
        return token.text == b"file"
    return token.kind == "name" and (token.text.strip(_QUOTES) == b"file" or b"\\" in token.text)


def _no_files(clause: str) -> QueryError:
    return QueryError(
        ACCESS_DENIED,
        f"{clause} would use files of the server's owner and is refused over HTTP; "
        "send or receive the data in the body. (ACCESS_DENIED)",
    )


def _output_format(body: list[Token]) -> str | None:
    found = None
    for at, token in enumerate(body[:-1]):
        name = body[at + 1]
        if token.depth == 0 and token.is_word("FORMAT") and name.kind == "word":
            rest = body[at + 2 : at + 3]
            if not rest or rest[0].is_word("SETTINGS", "INTO"):
                found = name.text.decode()
    return found
