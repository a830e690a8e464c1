"""ClickHouse's SQL as tokens: its strings, nested comments, heredocs and quotes.

Migrations are cut into statements by it, and the embedded server checks what it is sent.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
_SKIPPED = frozenset({"blank", "comment", "foreign"})


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


def formatted(sql: str) -> bool:
    """Whether a query ends by naming the FORMAT of its answer."""
    code = [token for token in tokens(sql.encode()) if token.depth <= 0 and token.text != b";"]
    ends = [at for at, token in enumerate(code) if token.is_word("SETTINGS")] + [len(code)]
    return any(
        at >= 2 and code[at - 2].is_word("FORMAT") and code[at - 1].kind == "word" for at in ends
    )


def _after_comment(text: bytes, at: int) -> int:
    """The offset after a block comment whose `/*` ends at `at`; comments nest."""
    level = 1
    for edge in _COMMENT_EDGE.finditer(text, at):
        level += 1 if edge[0] == b"/*" else -1
        if level == 0:
            return edge.end()
    return len(text)
