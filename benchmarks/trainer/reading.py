"""How long a CPU takes to read rows, forward and backward, by how they are packed and attended.

`python -m benchmarks.trainer.reading` from the repository's root. A row alone has the mask of the
model and needs none that is written out; rows together share what they can and have one. Each case
is a process of its own, so that its peak of memory is its own; they take turns.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from benchmarks.device.models import Shape, make_batch, make_policy
from benchmarks.machine import machine

from headrace.connectors.engines.arithmetic import choose
from headrace.trainer.batch import Batch, PackingConfig, pack_rows

MIB = 1 << 20
ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True, slots=True, frozen=True)
class Rows:
    """Rows of one length."""

    count: int
    prompt: int
    sampled: int
    shared: int
    """Tokens of the prompt that all have in common."""

    @property
    def name(self) -> str:
        """For the table."""
        return f"{self.count} × ({self.prompt} + {self.sampled}), {self.shared} shared"


BODY = Shape(
    depth=576,
    layers=6,
    heads=9,
    key_value_heads=3,
    head_width=64,
    inner=1536,
    vocabulary=512,
    spread=0.04,
)
"""A fifth of the layers of SmolLM2-135M: what a layer takes is the same."""
SHAPES = (
    Rows(count=48, prompt=128, sampled=32, shared=96),
    Rows(count=24, prompt=448, sampled=64, shared=0),
    Rows(count=8, prompt=1536, sampled=128, shared=1152),
    Rows(count=4, prompt=1920, sampled=128, shared=0),
)
ALONE = 1
FILLS = (ALONE, 1024, 2048, 8192)
"""Tokens to which packs are filled; under `ALONE` each row is read by itself."""


def batch_of(rows: Rows, fill: int) -> Batch:
    """The rows in packs."""
    made = make_batch(
        BODY,
        budget=1 << 20,
        rows=rows.count,
        prompt=rows.prompt,
        sampled=rows.sampled,
        shared=rows.shared,
    )
    return pack_rows(made.rows, PackingConfig(token_budget=1 << 20, fill=fill))


def measured(rows: Rows, fill: int, *, steps: int, recompute: bool) -> dict[str, Any]:
    """Medians of forward and backward of all packs, and the process's peak of memory.

    On a machine that does other things too, the processor's seconds say more than the clock's.
    """
    dtype = getattr(torch, choose(device="cpu").dtype)
    policy = make_policy(BODY, torch.device("cpu"), dtype=dtype)
    if recompute:
        policy.recompute()
    batch = batch_of(rows, fill)
    seconds, of_processor = [], []
    for _ in range(steps + 1):  # the first warms up
        began, used = time.perf_counter(), time.process_time()
        for pack in batch.packs:
            policy.hidden_states(pack).float().square().mean().backward()  # type: ignore[no-untyped-call]  # torch's own
        seconds.append(time.perf_counter() - began)
        of_processor.append(time.process_time() - used)
    return {
        "dtype": str(dtype),
        "packs": len(batch.packs),
        "tokens": batch.packed_tokens,
        "row_tokens": batch.row_tokens,
        "seconds": median(seconds[1:] or seconds),
        "processor_seconds": median(of_processor[1:] or of_processor),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MIB,
    }


def apart(rows: Rows, fill: int, options: argparse.Namespace) -> dict[str, Any]:
    """`measured` in a process of its own."""
    told = json.dumps(
        {
            "rows": [rows.count, rows.prompt, rows.sampled, rows.shared],
            "fill": fill,
            "steps": options.steps,
            "threads": options.threads,
            "recompute": options.recompute,
        }
    )
    command = [sys.executable, "-m", "benchmarks.trainer.reading", "--one", told]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # wherever it is started from
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return found


def one(told: dict[str, Any]) -> dict[str, Any]:
    """What `apart` asks for."""
    torch.set_num_threads(told["threads"])
    count, prompt, sampled, shared = told["rows"]
    rows = Rows(count=count, prompt=prompt, sampled=sampled, shared=shared)
    return measured(rows, told["fill"], steps=told["steps"], recompute=told["recompute"])


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line of a table as soon as it is measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument(
        "--rows", nargs=4, type=int, metavar=("COUNT", "PROMPT", "SAMPLED", "SHARED")
    )
    parser.add_argument("--fills", nargs="+", type=int, default=list(FILLS))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--recompute", action="store_true")
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.one is not None:
        print(json.dumps(one(options.one)))
        return 0
    about = machine()
    print(f"{about['processor']}, {', '.join(about['flags'])}, load {about['load_before']}\n")
    print(
        "| rows | packs | tokens read | s | of a processor | peak, MiB |\n|---|---|---|---|---|---|"
    )
    names = ("count", "prompt", "sampled", "shared")
    shapes = [Rows(**dict(zip(names, options.rows, strict=True)))] if options.rows else SHAPES
    for rows in shapes:
        for fill in options.fills:
            found = apart(rows, fill, options)
            packs = "each row alone" if fill == ALONE else f"{found['packs']} of ≤ {fill:,}"
            print(
                f"| {rows.name} | {packs} | {found['tokens']:,} | {found['seconds']:.2f} | "
                f"{found['processor_seconds']:.2f} | {found['peak_mib']:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
