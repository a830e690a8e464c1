"""Runs demos with seeds and says whether their agents learnt.

`python -m benchmarks.learning.run [NAME[:SETTINGS] …] [--seeds N]` from the repository's root;
writes JSON, a table and a plot to `benchmarks/results/` after every run, so that a long series that
is cut short has what it got. Takes a quarter of an hour or more for a demo and a seed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.learning.one import DemoFailed, run
from benchmarks.learning.report import draw, markdown
from benchmarks.learning.wanted import demo_name, wanted
from benchmarks.machine import about

from headrace.infra.demo import CASES
from headrace.infra.errors import SetupError

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("headrace", "torch", "transformers")


def main(argv: Sequence[str] | None = None) -> int:
    """Run and write; the exit code is 0 if every demo that was asked for came to its end."""
    options = _options(argv)
    result: dict[str, Any] = {
        "about": about(options),
        "packages": {name: version(name) for name in PACKAGES},
        "runs": [],
        "left_out": {},
    }
    for one in wanted(options.names, options.seeds):
        case = CASES[one.name]
        try:
            _ = case.python
        except SetupError as error:  # its framework is not installed here
            result["left_out"][one.what] = str(error)
            continue
        try:
            with tempfile.TemporaryDirectory(prefix="headrace-learning-") as scratch:
                found = run(
                    one,
                    Path(scratch) / "data",
                    versions=1 if options.short else options.versions or case.versions,
                    heldout=8 if options.short else options.heldout,
                    short=options.short,
                )
        except DemoFailed as error:  # the others are run
            result["left_out"][f"{one.what}, seed {one.seed}"] = str(error)
            continue
        result["runs"].append(found)
        write(options.directory, result)
        sys.stdout.write(f"{one.what}, seed {one.seed}: p = {found['p']:.2g}\n")
    write(options.directory, result)
    for what, why in result["left_out"].items():
        sys.stdout.write(f"{what} was not run: {why}\n")
    return int(bool(result["left_out"]))


def write(directory: Path, result: dict[str, Any]) -> None:
    """Write `learning.json`, `learning.md` and `learning.png`."""
    directory.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, allow_nan=False)
    (directory / "learning.json").write_text(text + "\n", encoding="utf-8")
    (directory / "learning.md").write_text(markdown(result), encoding="utf-8")
    draw(directory / "learning.png", result["runs"])


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", type=demo_name, help="demos; none: all")
    parser.add_argument("--seeds", type=int, default=5, help="seeds 1 to N (%(default)s)")
    parser.add_argument("--versions", type=int, help="to train; default: what the demo takes")
    parser.add_argument("--heldout", type=int, default=64, help="tasks (%(default)s)")
    parser.add_argument(
        "--short", action="store_true", help="one small version and eight tasks: does it run?"
    )
    parser.add_argument("--directory", type=Path, default=RESULTS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
