"""Rows for a person: a table where it fits, else a line a value; every cut is said."""

from headrace.infra.terminal.rows import CAP, lines_of

ROWS: list[dict[str, object]] = [
    {"id": "a", "text": "one\ntwo", "n": 1.5},
    {"id": "b", "text": None, "n": 2.0},
]


def test_rows_that_fit_are_a_table() -> None:
    assert lines_of(ROWS, width=80) == [
        "id  text     n",
        "a   one↵two  1.5",
        "b            2",
    ]
    assert lines_of([], width=80) == ["no rows"]


def test_rows_that_do_not_fit_are_a_line_a_value() -> None:
    said = lines_of(ROWS, width=12)
    assert said[0].startswith("── row 1 ─")
    assert said[1:5] == ["id    a", "text  one", "      two", "n     1.5"]
    assert lines_of(ROWS, vertical=True) == said


def test_without_a_terminal_nothing_is_too_wide() -> None:
    wide = [{f"column_{n}": n for n in range(40)}]
    assert len(lines_of(wide)) == 2
    assert len(lines_of(wide, width=80)) == 41


def test_a_long_cell_is_cut_and_it_is_said_how_to_see_it_whole() -> None:
    long = [{"id": 1, "schema": "x" * 200}]
    *table, note = lines_of(long)
    assert [len(line) for line in table] == [10, 4 + CAP]
    assert table[1].endswith("x…")
    assert "schema" in note
    assert "--wide" in note
    assert "x" * 200 in lines_of(long, whole=True)[1]
    assert "x" * 200 in "".join(lines_of(long, vertical=True))


def test_wide_characters_keep_their_columns_and_controls_are_seen() -> None:
    said = lines_of([{"a": "日本", "b": "\x1b[31m"}, {"a": "x", "b": "‮"}])
    assert said == ["a     b", "日本  ␛[31m", "x     ⟨U+202E⟩"]
