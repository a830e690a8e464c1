"""Times the loss on an LM head beside its peers, on one GPU.

`python -m benchmarks.kernels.run` from the repository's root; `--help` for the grid. Every provider
is first checked against float64 on a tiny batch (`--check`: only that, on any machine). Results are
written after every case, as JSON and, at the end, as tables (Markdown) and a plot (where matplotlib
is installed). No peer is a dependency: `pip install --no-deps -r
benchmarks/kernels/peers/requirements.txt` brings them. Exit codes: 2 no CUDA device, nothing
written; 3 a provider broke the device: the same command with `--continue` goes on without it.
"""

import argparse
import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from benchmarks.kernels.book import Book
    from benchmarks.kernels.routes import Provider


def main(argv: list[str] | None = None) -> int:
    """Runs the checks or the grid; gives the exit code."""
    options = _options(argv)
    # Providers with very different needs take turns: pages are mapped again, not hunted for.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    if options.check:
        return _check_only(options.providers)
    if not torch.cuda.is_available():
        print("benchmarks.kernels: no CUDA device here, so nothing was timed", file=sys.stderr)
        return 2
    from benchmarks.kernels import book, report

    try:
        pages = book.open_book(_path(options), _about(), go_on=options.go_on)
    except ValueError as error:
        print(f"benchmarks.kernels: {error}", file=sys.stderr)
        return 1
    code = _run(pages, options)
    report.write_report(pages)
    print(pages.path.with_suffix(".md").read_text())
    return code


def _run(pages: "Book", options: argparse.Namespace) -> int:
    from benchmarks.kernels import grid, measure, session

    chosen = _chosen(options.providers)
    floors = frozenset(one.name for one in chosen if one.kind == "floor")
    pages.about.setdefault("rate", measure.product_rate())
    session.tell(f"bare product: {pages.about['rate'] / 1e12:.0f} TFLOP/s; checking all providers")
    specs = grid.grid(options.shapes, options.tokens)
    specs = [spec for spec in specs if any(part in spec.label for part in options.only)]
    device = torch.device("cuda")
    try:
        losses = session.check_all(pages, chosen, device)
        runner = session.Runner(pages, losses, floors, options.turns, device, options.slow_turns)
        session.run_cases(pages, specs, runner, seconds=options.budget_seconds)
    except session.DeviceFailed as error:
        print(
            f"benchmarks.kernels: {pages.started} broke the device ({error}); "
            "the same command with --continue goes on without it",
            file=sys.stderr,
        )
        pages.write()
        return 3
    return 0


def _check_only(names: list[str]) -> int:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        os.environ.setdefault("TRITON_INTERPRET", "1")  # before Triton is imported
    from benchmarks.kernels import check

    found = list(check.checked(_chosen(names), device, check.references(device)))
    kind = "bf16" if device.type == "cuda" else "fp32, Triton in its interpreter"
    print(f"Worst error against float64 ({device}, {kind}):\n")
    print("\n".join(check.table(found)))
    return int(any(one.errors and one.reason for one in found))


def _options(argv: list[str] | None) -> argparse.Namespace:
    from benchmarks.kernels.book import RESULTS
    from benchmarks.kernels.grid import SHAPES, TOKENS

    parser = argparse.ArgumentParser(
        prog="benchmarks.kernels.run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = list(SHAPES)
    parser.add_argument("--check", action="store_true", help="only compare with float64")
    parser.add_argument("--shapes", nargs="+", default=names, choices=names)
    parser.add_argument("--tokens", nargs="+", type=int, default=list(TOKENS))
    parser.add_argument(
        "--only", nargs="+", default=[""], help="cases whose label holds one of these"
    )
    parser.add_argument("--providers", nargs="+", default=[], help="names, whole; default: all")
    parser.add_argument("--turns", type=int, default=20, help="timings of each provider")
    parser.add_argument(
        "--slow-turns", type=int, help="fewer for those that take 400 ms or more, to save minutes"
    )
    parser.add_argument(
        "--budget-seconds", type=float, help="begin no further case after this many seconds"
    )
    parser.add_argument(
        "--continue", dest="go_on", action="store_true", help="go on with the results there are"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--name", default="kernels", help="stem of the files written")
    return parser.parse_args(argv)


def _chosen(names: list[str]) -> "list[Provider]":
    from benchmarks.kernels.providers import PROVIDERS

    if unknown := set(names) - PROVIDERS.keys():
        sys.exit(f"benchmarks.kernels: no provider {sorted(unknown)}; there are {list(PROVIDERS)}")
    return [one for name, one in PROVIDERS.items() if not names or name in names]


def _path(options: argparse.Namespace) -> Path:
    device = torch.cuda.get_device_name().lower().replace(" ", "-")
    out: Path = options.out
    return out / f"{options.name}-{device}.json"


def _about() -> dict[str, Any]:
    import triton
    from benchmarks.kernels.book import versions

    return {
        "device": torch.cuda.get_device_name(),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "peers": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
