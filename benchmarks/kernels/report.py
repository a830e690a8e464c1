"""Tables and plot of a run.

The run writes them at its end; `python -m benchmarks.kernels.report FILE.json` writes them for one
that was cut off, on any machine.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.kernels import verdict
from benchmarks.kernels.book import Book, read_book
from benchmarks.kernels.grid import MAIN_TOKENS
from benchmarks.kernels.providers import OURS


def write_report(book: Book) -> None:
    """A Markdown page beside the book's file, and a plot where matplotlib is installed."""
    about = book.about
    peers = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
    lines = [
        f"# Loss on an LM head: {about['device']}, {about['date']}",
        "",
        f"torch {about['torch']}, Triton {about['triton']}, CUDA {about['cuda']}; "
        f"{peers or 'no peers'}."
        f" Bare bf16 product on this card: {about['rate'] / 1e12:.0f} TFLOP/s.",
        "",
        f"## Targets, at {MAIN_TOKENS:,} rows",
        "",
        *verdict.lines(verdict.verdicts(book.results, about["rate"]), about["device"]),
        "",
    ]
    for label in book.finished:
        rows = [row for row in book.results if row["case"] == label]
        lines += [f"## {label}", "", *table(rows), ""]
    lines += ["## Absent", "", *(f"- {name}: {why}" for name, why in book.absent.items()), ""]
    if book.left_out:
        lines += [
            "## Left out: the time was spent",
            "",
            *(f"- {name}" for name in book.left_out),
            "",
        ]
    book.path.with_suffix(".md").write_text("\n".join(lines))
    plot(book, book.path.with_suffix(".png"))


def main(argv: list[str]) -> int:
    """Writes the report of the runs whose files are named."""
    for name in argv:
        write_report(read_book(Path(name)))
    return 0


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Of one case, the fastest first."""
    lines = [
        "| | ms (median) | p20-p80 | timings | useful TFLOP/s | peak MiB | saved MiB | dX error "
        "| dW error | log-prob. error, nat | repeats |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: float(row["milliseconds"])):
        errors = row["errors"]
        figures = [
            "" if errors.get(name) is None else f"{errors[name]:.1e}"
            for name in ("grad_hidden", "grad_weight", "logp")
        ]
        lines.append(
            f"| {row['provider']} | {row['milliseconds']:.2f} | {row['low']:.2f}-{row['high']:.2f} "
            f"| {row['turns']} "
            f"| {row['useful_teraflops']:.0f} | {row['peak_bytes'] / 2**20:.0f} "
            f"| {row['saved_bytes'] / 2**20:.0f} | {' | '.join(figures)} "
            f"| {'yes' if row['repeats'] else 'no'} |"
        )
    return lines


def plot(book: Book, path: Path) -> None:
    """Time of every provider on the dense cases of the main size."""
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    wanted = f"N={MAIN_TOKENS} dapo dense"
    labels = [label for label in book.finished if label.endswith(wanted)]
    if not labels:
        return
    figure, axes = pyplot.subplots(len(labels), 1, figsize=(9, 4 * len(labels)), squeeze=False)
    for axis, label in zip(axes[:, 0], labels, strict=True):
        rows = [row for row in book.results if row["case"] == label]
        rows.sort(key=lambda row: float(row["milliseconds"]))
        colours = ["tab:blue" if row["provider"].startswith(OURS) else "0.6" for row in rows]
        axis.barh(
            [row["provider"] for row in rows],
            [row["milliseconds"] for row in rows],
            color=colours,
        )
        axis.invert_yaxis()
        axis.set_xscale("log")
        axis.set_title(f"{label} ({book.about['device']})", fontsize=9)
        axis.set_xlabel("ms, forward and backward", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
