"""Everything that needs a GPU, in one run on a bare machine, from the sources alone.

`python -m benchmarks.device --budget-seconds 480` from the repository's root. It needs torch,
Triton, transformers, pytest and hypothesis, no network and no Kafka client. In order: the kernels'
tests on the device and their errors against float64; a training step against the same on the CPU,
FlexAttention against the dense mask; the kernel benchmark's first shapes, beside the peers that are
installed; tokens/s, MFU and memory of the trainer; then the rest of the kernel benchmark while time
lasts. What was found is written after every case, and one page at the end. Each part is a process
of its own: one that breaks the device, or outlasts its time, costs no other. Exit codes: 2 no CUDA
device; 1 a part failed. `--rehearse` goes through all of it on the CPU: tiny shapes, Triton in its
interpreter; its times mean nothing.
"""

import argparse
import sys
import time
from pathlib import Path

from benchmarks.device.book import Book
from benchmarks.device.machine import about
from benchmarks.device.parts import parts, run_part
from benchmarks.device.report import page
from benchmarks.device.sources import ROOT


def main(argv: list[str] | None = None) -> int:
    """Runs the parts one after the other; gives the exit code."""
    options = _options(argv)
    machine = about(rehearse=options.rehearse)
    if "device" not in machine:
        print("benchmarks.device: no CUDA device here; try --rehearse", file=sys.stderr)
        return 2
    name = "rehearsal" if options.rehearse else machine["device"].lower().replace(" ", "-")
    book = Book(path=options.out / f"device-{name}.json", about=machine)
    begun = time.monotonic()
    share = 0.0
    for part in parts(rehearse=options.rehearse):
        share += part.share
        # What an earlier part left over goes to the later ones.
        seconds = share * options.budget_seconds - (time.monotonic() - begun)
        if options.only and part.name not in options.only:
            continue
        print(f"== {part.name}: {seconds:.0f} s at most", flush=True)
        book.add(run_part(part, seconds, options.out))
        book.write()
    text = page(book)
    book.path.with_suffix(".md").write_text(text)
    print(text)
    return int(any(part.state != "done" for part in book.parts))


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.device",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget-seconds", type=float, default=480.0, help="for all of it")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        choices=[part.name for part in parts(rehearse=False)],
        help="these parts alone; each may take what those before it would have left",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
