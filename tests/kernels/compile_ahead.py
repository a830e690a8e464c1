"""Compiles every Triton kernel for a GPU that need not be there, and prints what came out as JSON.

Run in a process of its own, without Triton's interpreter:
`python -m tests.kernels.compile_ahead [90 80]`.
"""
# mypy: disable-error-code="no-untyped-call"

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from headrace.kernels.device import glue, linear, rows, scale, segments, tiles
from headrace.kernels.logits_loss import triton as logits
from headrace.kernels.losses.config import Choices, Constants, LossConfig
from headrace.kernels.scan import triton as scan

TOOLS = Path(triton.backends.nvidia.__file__).parent / "bin"
FLOATS = ("entropy_coef", "gamma", "lam", "coefficient")
RECORDS: dict[str, Any] = {
    "constants": Constants._make(["fp32"] * len(Constants._fields)),
    "pointers": rows.RowPointers._make(["*fp32"] * len(rows.RowPointers._fields)),
}
"""Types of the arguments that are named tuples."""
MATRICES = (
    "hidden_ptr",
    "weight_ptr",
    "exponents_ptr",
    "stored_ptr",
    "scaled_ptr",
    "out_ptr",
    "grad_ptr",
)
ABSENT = {
    "sums": ("stored", "offset_ptr", "factor_ptr", "bonus_ptr"),
    "exponents": ("factor_ptr", "bonus_ptr", "peak_ptr"),
    "gradient": ("targets_ptr", "target_ptr", "peak_ptr", "sum_ptr", "weighted_ptr"),
}
"""Arguments that a mode of the LM head's product does not have."""
Kernel = tuple[str, Any, dict[str, Any], dict[str, Any], dict[str, int]]
"""Name, function, types of its arguments, those that are compiled in, and options."""


def matrix_kernels(arch: int) -> Iterator[Kernel]:
    """The LM head's product with every tile that this architecture uses."""
    if arch < 90:
        return  # the library's product is used there
    for kind, tile in product(("bf16", "fp16"), (tiles.NARROW, tiles.WIDE)):
        for mode in ("sums", "exponents", "gradient") if kind == "bf16" else ("sums",):
            width = tile.columns // tile.split
            signature: dict[str, Any] = {
                "hidden": f"tensordesc<{kind}[{tile.rows}, {tile.depth}]>",
                "weight": f"tensordesc<{kind}[{tile.columns}, {tile.depth}]>",
                "stored": f"tensordesc<{kind}[{tile.rows}, {width}]>",
                "targets_ptr": "*i64",
                **dict.fromkeys(("inverse_ptr", "offset_ptr", "factor_ptr", "bonus_ptr"), "*fp32"),
                **dict.fromkeys(("target_ptr", "peak_ptr", "sum_ptr", "weighted_ptr"), "*fp32"),
                **dict.fromkeys(("row_count", "column_count", "depth"), "i32"),
            }
            constants = {
                "BLOCK_M": tile.rows,
                "BLOCK_N": tile.columns,
                "BLOCK_K": tile.depth,
                "SPLIT": tile.split,
                "MODE": mode,
                "UPCAST": False,
                **dict.fromkeys(ABSENT[mode]),
            }
            options = {"num_warps": tile.warps, "num_stages": tile.stages}
            name = f"linear-{kind}-{mode}-{tile.rows}x{tile.columns}"
            yield name, linear.linear_kernel, signature, constants, options


def pointer_kernels() -> Iterator[Kernel]:
    """All others; argument types follow from their names."""
    wide = {"ROWS": 1, "BLOCK": 1024}
    for mode, absent in ABSENT.items():
        absent = tuple("stored_ptr" if name == "stored" else name for name in absent)
        constants = {**wide, "MODE": mode, **dict.fromkeys(absent)}
        yield _plain(f"strip-{mode}", linear.strip_kernel, constants)
    yield _plain("offset", glue.offset_kernel, wide)
    for peak in (True, False):
        yield _plain(f"combine-{peak}", glue.combine_kernel, {"PEAK": peak, "BLOCK": 128})
    yield _plain("scale", glue.scale_kernel, {**wide, "ENTROPY": False, "HIDDEN": True})
    yield _plain("fix", glue.fix_kernel, {"BLOCK": 128})
    yield _plain("bonus", glue.bonus_kernel, wide)
    yield _plain("scatter", glue.scatter_kernel, wide)
    yield _plain("target", glue.target_kernel, {"BLOCK": 128})
    yield _plain("times", scale.times_kernel, {"BLOCK": scale.BLOCK})
    yield from scan_kernels()
    for loss in (
        LossConfig(kind="reinforce", tis_cap=2.0),
        LossConfig(kind="ppo", kl_coef=0.1, mis_bounds=(0.5, 2.0)),
        LossConfig(kind="gspo", kl_coef=0.1, kl_kind="k2"),
        LossConfig(kind="cispo", kl_coef=0.1, kl_kind="k1"),
        LossConfig(kind="sapo", kl_coef=0.1, kl_kind="k3_unbiased"),
    ):
        given = loss.choices(proximal=loss.correction != "none" and loss.kind != "reinforce")
        constants = {"choices": given, "BLOCK": rows.BLOCK}
        yield _plain(f"slopes-{loss.kind}", rows.slopes_kernel, constants)
        yield _plain(f"sums-{loss.kind}", rows.sums_kernel, constants)
    yield _plain("logits-stats", logits.stats_kernel, {"BLOCK": logits.BLOCK}, logits.WARPS)
    for entropy in (True, False):
        flags: dict[str, Any] = {"BLOCK": logits.BLOCK, "ENTROPY": entropy}
        yield _plain(f"logits-gradient-{entropy}", logits.gradient_kernel, flags, logits.WARPS)
        given = Choices(kind="ppo", correction="tis", kl="k3", proximal=True)
        flags["choices"] = given
        yield _plain(f"logits-row-{entropy}", logits.row_kernel, flags, logits.WARPS)


def scan_kernels() -> Iterator[Kernel]:
    """Those of the scans, of advantages (with values) and of returns (without)."""
    yield _plain("segments", segments.segments_kernel, {"BLOCK": 1024})
    for name in ("ends", "carry"):
        yield _plain(f"scan-{name}", getattr(scan, f"_{name}_kernel"), {"BLOCK": 1024})
    nothing: dict[str, Any] = {"values_ptr": None, "bootstrap_ptr": None}
    for name in ("tiles", "rows"):
        kernel = getattr(scan, f"_{name}_kernel")
        yield _plain(f"scan-{name}-values", kernel, {"VALUES": True, "BLOCK": 1024})
        yield _plain(f"scan-{name}", kernel, {"VALUES": False, "BLOCK": 1024, **nothing})


def _plain(name: str, kernel: Any, constants: dict[str, Any], warps: int = 4) -> Kernel:
    signature = {name: RECORDS.get(name) or _type(name) for name in kernel.arg_names}
    return name, kernel, signature, constants, {"num_warps": warps, "num_stages": 3}


def _type(argument: str) -> str:
    if argument in ("targets_ptr", "index_ptr", "bounds_ptr"):
        return "*i64"
    if argument == "mask_ptr":
        return "*u8"
    if argument == "ends_ptr":
        return "*i32"
    if argument in MATRICES:
        return "*bf16"
    if argument.endswith("_ptr"):
        return "*fp32"
    return "fp32" if argument in FLOATS else "i32"


def compiled(kernel: Kernel, arch: int) -> dict[str, Any]:
    """Registers, spills, shared memory and instructions of one kernel."""
    name, function, signature, constants, options = kernel
    types: dict[str, Any] = {}
    values: dict[tuple[int, ...], Any] = {}
    for position, argument in enumerate(function.arg_names):
        if isinstance(record := constants.get(argument), Choices):
            types[argument] = Choices._make(["constexpr"] * len(record))
            values.update({(position, place): value for place, value in enumerate(record)})
        elif argument in constants:
            types[argument], values[(position,)] = "constexpr", constants[argument]
        else:
            types[argument] = signature[argument]
    # Sizes and addresses are multiples of 16, as those of real models are.
    aligned: list[tuple[int, ...]] = [
        (position,)
        for position, argument in enumerate(function.arg_names)
        if types[argument][0] == "*" or argument in ("depth", "stride")
    ]
    if "pointers" in types:
        position = function.arg_names.index("pointers")
        aligned += [(position, place) for place in range(len(types["pointers"]))]
    source = ASTSource(
        function, types, values, {path: [["tt.divisibility", 16]] for path in aligned}
    )
    out = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    ptx = out.asm["ptx"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        target = re.search(r"\.target (\S+)", ptx)
        assert target is not None
        log = subprocess.run(
            [TOOLS / "ptxas", "-v", f"-arch={target[1].rstrip(',')}", path, "-o", "/dev/null"],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
    return {
        "name": name,
        "arch": arch,
        "registers": int(re.findall(r"Used (\d+) registers", log)[0]),
        "spills": sum(map(int, re.findall(r"(\d+) bytes spill", log))),
        "shared": out.metadata.shared,
        "wgmma": len(re.findall(r"wgmma\.mma_async", ptx)),
        "mma": len(re.findall(r"\bmma\.sync", ptx)),
        "bulk_copies": len(re.findall(r"cp\.async\.bulk\.tensor", ptx)),
        "async_copies": len(re.findall(r"cp\.async\.c[ag]", ptx)),
    }


def main(arguments: list[str]) -> None:
    found = []
    for arch in map(int, arguments or ["90", "80"]):
        for kernel in (*matrix_kernels(arch), *pointer_kernels()):
            found.append(compiled(kernel, arch))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
