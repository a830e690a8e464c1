"""Counts what every route to the loss holds at most, at the sizes of real models, without a GPU.

`python -m benchmarks.kernels.memory` from the repository's root. Nothing is measured on a device:
each route's own host code runs on tensors without contents (`benchmarks.kernels.allocations`).
Writes `kernels-memory.json` and `kernels-memory.md` to `benchmarks/results/`.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import partial
from pathlib import Path

import torch
from benchmarks.kernels.allocations import peak_bytes
from benchmarks.kernels.cases import LOSSES, SEQUENCE, Case
from benchmarks.kernels.grid import SHAPES
from benchmarks.kernels.providers import ALL, ours
from benchmarks.kernels.routes import Absent, Loss, Provider
from torch import Tensor

RESULTS = Path(__file__).parents[1] / "results"
TOKENS = 16384
MIB = 1 << 20


@dataclass(kw_only=True, slots=True, frozen=True)
class Count:
    """Of one route at one shape."""

    shape: str
    route: str
    peak_bytes: int


def main(argv: list[str] | None = None) -> int:
    """Counts, prints and writes; gives the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.kernels.memory", description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--ours", action="store_true", help="count no peers")
    parser.add_argument("--json", action="store_true", help="print JSON, and write nothing")
    options = parser.parse_args(argv)
    counts, absent = count(options.shapes, peers=not options.ours)
    if options.json:
        sys.stdout.write(json.dumps([asdict(one) for one in counts]))
        return 0
    table = _page(counts, absent, options.shapes)
    sys.stdout.write(table)
    content = {
        "what": "bytes counted from allocations of host code; no device was used",
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "tokens": TOKENS,
        "absent": absent,
        "results": [asdict(one) for one in counts],
    }
    (RESULTS / "kernels-memory.json").write_text(json.dumps(content, indent=1) + "\n")
    (RESULTS / "kernels-memory.md").write_text(table)
    return 0


Route = Callable[[Case, Tensor], object]
"""Forms loss and gradients of a case; the tensor is an fp32 gradient that some add to."""


def of_ours(*, main_gradient: bool = False, **limits: int) -> Route:
    """Ours with these limits."""

    def route(case: Case, main_grad: Tensor) -> object:
        own = {"main_grad": main_grad} if main_gradient else {}
        return _differentiated(ours(impl="triton", **limits, **own), case)

    return route


def of_peer(provider: Provider) -> Route:
    """A peer's route; raises Absent where it is not installed."""
    loss = provider.make()
    return lambda case, _: _differentiated(loss, case)


OURS: dict[str, Route] = {
    "headrace": of_ours(),
    "headrace, 2,048 rows at a time": of_ours(chunk_rows=2048),
    "headrace, in 256 MiB": of_ours(memory_budget=256 * MIB),
    "headrace, in 64 MiB": of_ours(memory_budget=64 * MIB),
    "headrace, into a main gradient": of_ours(main_gradient=True, chunk_rows=2048),
    "headrace, into a main gradient, in 64 MiB": of_ours(
        main_gradient=True, memory_budget=64 * MIB
    ),
}

COMPILED = "a compiler decides what it holds"
UNCOUNTED = {
    "torch.compile, whole logits": COMPILED,
    "cut cross-entropy (torch.compile)": COMPILED,
    "QuACK cross-entropy on logits": "its kernels cannot be left out of its host code",
}
ELSEWHERE = {"Liger scaled cross-entropy": " (its torch route: the one for Hopper needs a device)"}
"""Peers whose host code takes another route without a device."""


def count(shapes: Iterable[str], *, peers: bool) -> tuple[list[Count], dict[str, str]]:
    """Every route at every shape, and why the absent ones are."""
    routes, absent, found = dict(OURS), dict[str, str](), list[Count]()
    for provider in ALL if peers else ():
        if provider.kind != "peer":
            continue
        if provider.name in UNCOUNTED:
            absent[provider.name] = UNCOUNTED[provider.name]
            continue
        try:
            routes[provider.name + ELSEWHERE.get(provider.name, "")] = of_peer(provider)
        except Absent as reason:
            absent[provider.name] = str(reason)
    for shape in shapes:
        for name, route in routes.items():
            try:
                most = peak_bytes(partial(_ready, route, shape))
            except Exception as error:  # a peer's failure is a finding
                if name in OURS:
                    raise
                absent.setdefault(name, f"at {shape}, {type(error).__name__}: {error}"[:200])
            else:
                found.append(Count(shape=shape, route=name, peak_bytes=most))
    return found, absent


def _ready(route: Route, shape: str) -> tuple[Callable[[], object], list[Tensor]]:
    case, main_grad = _case(*SHAPES[shape])
    given = [value for value in _values(case) if isinstance(value, Tensor)]
    return lambda: route(case, main_grad), [*given, main_grad]


def _values(case: Case) -> list[object]:
    return [getattr(case, field.name) for field in fields(case)]


def _case(depth: int, vocabulary: int) -> tuple[Case, Tensor]:
    """A dense batch of the DAPO loss; its tensors have no contents."""

    def column() -> Tensor:
        return torch.empty(TOKENS)

    bf16 = torch.bfloat16
    case = Case(
        hidden=torch.empty(TOKENS, depth, dtype=bf16, requires_grad=True),
        weight=torch.empty(vocabulary, depth, dtype=bf16, requires_grad=True),
        targets=torch.empty(TOKENS, dtype=torch.int64),
        mask=column(),
        advantages=column(),
        old_logp=column(),
        reference_logp=column(),
        token_weights=column(),
        loss=LOSSES["dapo"],
        sequence=SEQUENCE,
        entropy=1.0,
    )
    return case, torch.empty(vocabulary, depth)


def _differentiated(loss: Loss, case: Case) -> object:
    """Forward and backward, with all that a training step would then hold."""
    out = loss(case)
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    return out


def _page(counts: list[Count], absent: dict[str, str], shapes: list[str]) -> str:
    """Markdown."""
    sizes = {(one.route, one.shape): one.peak_bytes / MIB for one in counts}
    lines = [
        "# Loss on an LM head: memory, counted",
        "",
        "No device was used. Each route's own host code ran on tensors without contents, and every",
        "storage that it made was counted until it died: MiB held at most beyond hidden states,",
        f"head and the batch's columns, forward and backward, N = {TOKENS:,}, bf16, gradients",
        "included. Not counted: what libraries and kernels hold within a call.",
        "",
        "| | " + " | ".join(shapes) + " |",
        "|---" * (len(shapes) + 1) + "|",
    ]
    for route in dict.fromkeys(one.route for one in counts):
        row = (sizes.get((route, shape)) for shape in shapes)
        cells = ("-" if size is None else f"{size:,.0f}" for size in row)
        lines.append(f"| {route} | " + " | ".join(cells) + " |")
    both = (2 * (TOKENS + SHAPES[shape][1]) * SHAPES[shape][0] / MIB for shape in shapes)
    lines.append("| both gradients alone | " + " | ".join(f"{size:,.0f}" for size in both) + " |")
    logits = (2 * TOKENS * SHAPES[shape][1] / MIB for shape in shapes)
    lines.append("| bf16 logits alone | " + " | ".join(f"{size:,.0f}" for size in logits) + " |")
    if absent:
        lines += ["", "Not counted:", ""]
        lines += [f"- {name}: {reason}" for name, reason in absent.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
