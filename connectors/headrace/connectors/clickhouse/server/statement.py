"""What the front must know of a SQL text before the engine sees it.

ClickHouse's HTTP interface joins the statement and the data of an INSERT in one text, and
`INTO OUTFILE` / `FROM INFILE` are executed by whoever holds the connection, ignoring grants: both
need a lexer that agrees with ClickHouse's on strings, comments (nested), heredocs and quotes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from headrace.connectors.clickhouse.server.errors import (
    ACCESS_DENIED,
    SYNTAX_ERROR,
    QueryError,
)

# Bytes outside ASCII that are not quotes are blanks to ClickHouse (U+00A0 and friends) or an
# error; taking all of them as blanks can only make the guards stricter.
_TOKEN = re.compile(
    rb"(?P<blank>[\s\x00]+)"
    rb"|(?P<comment>--[^\n]*|#[ !][^\n]*)"
    rb"|(?P<block>/\*)"
    rb"|(?P<string>'(?:[^'\\]+|\\.)*+(?:'|\Z)|\xe2\x80\x98.*?(?:\xe2\x80\x99|\Z))"
    rb'|(?P<name>"(?:[^"\\]+|\\.)*+(?:"|\Z)|`(?:[^`\\]+|\\.)*+(?:`|\Z)'
    rb"|\xe2\x80\x9c.*?(?:\xe2\x80\x9d|\Z))"
    rb"|(?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)"
    rb"|(?P<word>[A-Za-z_][A-Za-z0-9_$]*)"
    rb"|(?P<number>[0-9][A-Za-z0-9_]*)"
    rb"|(?P<foreign>[\x80-\xff])"
    rb"|(?P<mark>.)",
    re.DOTALL,
)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_DATA_LEAD = re.compile(rb"[ \t\r\f\v]*;?[ \t\r\f\v]*\n?")
_SKIPPED = frozenset({"blank", "comment", "foreign"})
_SESSION_VERBS = frozenset({"SET", "USE", "BEGIN", "COMMIT", "ROLLBACK"})
_READ_VERBS = frozenset(
    {"SELECT", "WITH", "FROM", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK", "("}
)


@dataclass(kw_only=True, slots=True, frozen=True)
class Token:
    """One significant token: its kind, its text, where it lies and its bracket depth."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper().decode() in words


@dataclass(kw_only=True, slots=True, frozen=True)
class InsertHead:
    """`INSERT INTO t (a, b)` with its data elsewhere.

    `sql` is the text before FORMAT or VALUES, `format` the input format, `data_at` the offset in
    the scanned text where data begins.
    """

    sql: bytes
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


def tokens(text: bytes) -> Iterator[Token]:
    """Yields the significant tokens of `text`: no blanks, no comments."""
    at, depth = 0, 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None, "the last alternative matches any byte"
        kind = found.lastgroup or "mark"
        if kind == "tag":
            kind = "heredoc"
        end = found.end()
        if kind == "block":
            at = _after_comment(text, end)
            continue
        if kind not in _SKIPPED:
            piece = found[0]
            if kind == "mark" and piece in b")]}":
                depth -= 1
            yield Token(kind=kind, text=piece, start=at, end=end, depth=depth)
            if kind == "mark" and piece in b"([{":
                depth += 1
        at = end


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
    for token in scan:
        named = before.is_word("INTO", "TABLE", "INSERT", "FUNCTION") or before.text == b"."
        if token.depth == 0 and not (named and not token.is_word("INTO")):
            if token.is_word("SELECT", "WITH"):
                return None
            if before.is_word("FROM") and token.is_word("INFILE"):
                raise _no_files("FROM INFILE")
            if token.is_word("VALUES"):
                return InsertHead(sql=text[: token.start], format="Values", data_at=token.end)
            if before.is_word("FORMAT") and token.kind == "word":
                lead = _DATA_LEAD.match(text, token.end)
                return InsertHead(
                    sql=text[: before.start],
                    format=token.text.decode(),
                    data_at=lead.end() if lead else token.end,
                )
        # A table may be called `format`: then the word after it is not a format's name.
        before = token if not named else _as_name(token)
    return None


def inspect(text: bytes) -> Statement:
    """Reads the statement's kind and refuses what the front must not pass on.

    Raises:
        QueryError: 62 for nothing or more than one statement; 497 for OUTFILE and INFILE.
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


def _after_comment(text: bytes, at: int) -> int:
    """The offset after a block comment whose `/*` ends at `at`; comments nest."""
    level = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        level += 1 if edge[0] == b"/*" else -1
        if level == 0:
            return edge.end()
    return len(text)


def _refuse_files(body: list[Token]) -> None:
    for before, token, after in zip(body, body[1:], body[2:], strict=False):
        if after.kind not in ("string", "heredoc"):
            continue
        if before.is_word("INTO") and token.is_word("OUTFILE"):
            raise _no_files("INTO OUTFILE")
        if before.is_word("FROM") and token.is_word("INFILE"):
            raise _no_files("FROM INFILE")


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
