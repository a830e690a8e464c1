"""Rows of an answer as lines of text: a table where it fits, else a line a value."""

from collections.abc import Mapping, Sequence

from rich.cells import cell_len, set_cell_size

from headrace.infra.terminal.signs import signs

CAP = 60
"""Cells of a table are cut beyond so many places."""
_GAP = "  "


def lines_of(
    rows: Sequence[Mapping[str, object]],
    *,
    width: int | None = None,
    vertical: bool = False,
    whole: bool = False,
) -> list[str]:
    """The rows for a person.

    Args:
        rows: all of one shape; their values may be anything a model said.
        width: places of the terminal; None: as many as are needed.
        vertical: a line a value, whatever fits.
        whole: a table whose cells are not cut, whatever fits.
    """
    if not rows:
        return ["no rows"]
    names = list(rows[0])
    cells = [[_cell(value) for value in row.values()] for row in rows]
    if vertical:
        return _vertical(names, cells)
    columns = [list(column) for column in zip(names, *cells, strict=True)]
    shown = [[_in_line(cell) for cell in column] for column in columns]
    widths = [max(map(cell_len, column)) for column in shown]
    capped = widths if whole else [min(one, CAP) for one in widths]
    if not whole and width is not None and sum(capped) + len(_GAP) * (len(names) - 1) > width:
        return _vertical(names, cells)
    made = [_GAP.join(map(_sized, row, capped)).rstrip() for row in zip(*shown, strict=True)]
    if cut := [name for name, had, has in zip(names, widths, capped, strict=True) if had > has]:
        made.append(f"({', '.join(cut)}: cut at {CAP}; whole with --wide, --vertical or --json)")
    return made


def _vertical(names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    wide = max(map(cell_len, names))
    margin = "\n" + " " * wide + _GAP
    made = []
    for number, row in enumerate(cells, 1):
        made.append(f"── row {number} ".ljust(wide + 20, "─"))
        for name, cell in zip(names, row, strict=True):
            made += (set_cell_size(name, wide) + _GAP + margin.join(cell.split("\n"))).split("\n")
    return [line.rstrip() for line in made]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else signs(value)


def _in_line(cell: str) -> str:
    return cell.replace("\n", "↵").replace("\t", " ")


def _sized(cell: str, width: int) -> str:
    return (
        set_cell_size(cell, width)
        if cell_len(cell) <= width
        else f"{set_cell_size(cell, width - 1)}…"
    )
