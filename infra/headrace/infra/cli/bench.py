"""`headrace bench`: the benchmarks of the repository."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from headrace.infra.cli.app import WRONG_USE, app, fail

CHECKOUT = Path(__file__).parents[4]
"""Where this code lies in a checkout of the repository."""


@app.command(context_settings={"allow_interspersed_args": False})
def bench(
    name: Annotated[str, typer.Argument(help="Which; left out: they are listed.")] = "",
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Its own options; `bench NAME --help` tells them.")
    ] = None,
) -> None:
    """Measure a part on this machine: latency, throughput, CPU. Needs a checkout of the repository.

    Results are written to `benchmarks/results`. Run nothing else meanwhile.
    """
    known = sorted(run.parent.name for run in (CHECKOUT / "benchmarks").glob("*/run.py"))
    if not known:
        fail("the benchmarks are in the repository, not in the package: clone it", WRONG_USE)
    if not name:
        sys.stdout.write(f"headrace bench NAME: {', '.join(known)}\n")
        return
    if name not in known:
        fail(f"there is no benchmark {name!r}: give one of {', '.join(known)}", WRONG_USE)
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", f"benchmarks.{name}.run", *(arguments or [])]
    done = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, "PYTHONPATH": path}, check=False
    )
    sys.exit(done.returncode)
