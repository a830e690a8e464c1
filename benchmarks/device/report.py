"""One page of a run: a table a part."""

import json
from pathlib import Path

from benchmarks.device.book import Book, Found, Line, short


def page(book: Book) -> str:
    """As Markdown."""
    about = book.about
    versions = ", ".join(
        f"{name} {about[name]}"
        for name in ("torch", "triton", "transformers", "cuda")
        if name in about
    )
    lines = [f"# Device run: {about['device']}, {about['date']}", "", f"{versions}.", ""]
    for found in book.parts:
        lines += [f"## {found.part}: {found.state}, {found.seconds:.0f} s", "", *_body(found)]
    lines += _kernels(book.path.parent, about["device"])
    return "\n".join(lines).rstrip() + "\n"


def table(lines: list[Line]) -> list[str]:
    """Cases of a part, one a row; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(name for line in lines for name in line if name != "case"))
    out = [f"| case | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for line in lines:
        cells = [short(line[name]) if name in line else "" for name in columns]
        out.append(f"| {' | '.join([str(line['case']), *cells]).replace(chr(10), ' ')} |")
    return out


def _body(found: Found) -> list[str]:
    return [*table(found.lines), ""] if found.lines else []


def _kernels(folder: Path, device: str) -> list[str]:
    """What the kernel benchmark wrote beside this run, in short."""
    path = folder / f"kernels-{device.lower().replace(' ', '-')}.json"
    if not path.exists():
        return []
    results = json.loads(path.read_text())["results"]
    rows: list[Line] = [
        {
            "case": f"{row['case']}: {row['provider']}",
            "ms": row["milliseconds"],
            "useful_teraflops": row["useful_teraflops"],
            "peak_mib": row["peak_bytes"] / 2**20,
            "grad_hidden_error": row["errors"].get("grad_hidden") or "",
        }
        for row in results
    ]
    return [f"## Loss on an LM head ({path.name})", "", *table(rows)] if rows else []
