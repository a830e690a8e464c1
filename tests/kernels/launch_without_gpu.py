"""Calls every function as on a Hopper GPU that is not there, and prints each launch as JSON.

The host's own code runs; each kernel is specialised to the arguments it is really given, compiled
for sm_90, and not launched. So an argument, a mask or a size of one that does not compile is found
without a device. Run in a process of its own, without Triton's interpreter:
`python -m tests.kernels.launch_without_gpu`.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import product as pairs
from typing import Any
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget

from headrace.kernels import (
    LossConfig,
    discounted_returns,
    gae,
    linear_logp,
    linear_policy_loss,
    policy_loss,
    segment_means,
    turn_gae,
)
from headrace.kernels.device import product
from headrace.kernels.linear_loss import triton as path
from tests.kernels.cases import LOSSES, Case, make_case
from tests.kernels.compile_ahead import TOOLS

SHARED = 227 << 10
"""Bytes of shared memory that a program may have on sm_90 (CUDA C++ Programming Guide)."""
BF16 = torch.bfloat16
WAYS: dict[str, dict[str, Any]] = {
    "whole": {"chunk_rows": None},
    "blocks": {"chunk_rows": 128},
    "recompute": {"chunk_rows": None, "memory_budget": 1},
}


class Driver:
    """Stands for the CUDA driver: says that a Hopper GPU is there, and launches nothing."""

    def __init__(self) -> None:
        self.grids: dict[str, set[tuple[int, int, int]]] = {}
        """Of each kernel, the numbers of programs it was launched with."""
        self.binaries: list[dict[str, Any]] = []
        """What each specialisation takes."""
        self.boxes: list[dict[str, Any]] = []
        """What each descriptor of a bulk copy asks of the device."""
        self.utils = self

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_device_properties(self, _: int) -> dict[str, int]:
        return {"max_shared_mem": SHARED}

    def launcher_cls(self, source: Any, metadata: Any) -> Any:
        self.boxes += metadata.tensordesc_meta or []

        def launch(x: int, y: int, z: int, *_: Any) -> None:
            self.grids.setdefault(source.fn.__name__, set()).add((x, y, z))

        return launch

    def load_binary(self, name: str, binary: bytes, shared: int, _: int) -> tuple[int, ...]:
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            file.write(binary)
            file.flush()
            usage = subprocess.run(
                [TOOLS / "cuobjdump", "-res-usage", file.name],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        found = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", usage))
        self.binaries.append(
            {
                "name": name,
                "registers": int(found["REG"]),
                "local": int(found["STACK"]) + int(found["LOCAL"]),
                "shared": shared,
            }
        )
        return 1, 1, 0, 0, 1024


@contextmanager
def pretended() -> Iterator[Driver]:
    """Tensors on the CPU pass for tensors on a Hopper GPU; matrix products are the CPU's."""
    driver = Driver()
    triton.runtime.driver.set_active(driver)

    def wide(left: Tensor, right: Tensor) -> Tensor:
        return left.float() @ right.float()

    replaced: tuple[tuple[Any, str, Any], ...] = (
        (Tensor, "is_cuda", property(lambda _: True)),
        (torch.cuda, "get_device_capability", lambda *_: (9, 0)),
        (torch.cuda, "device", lambda _: nullcontext()),
        (product, "product", wide),
        (path, "product", wide),
        (path, "add_product", lambda out, left, right: out.addmm_(left.float(), right.float())),
    )
    with ExitStack() as stack:
        for owner, name, instead in replaced:
            stack.enter_context(patch.object(owner, name, instead))
        yield driver


def call_losses() -> None:
    """Every loss; three of them each way, in both tiles, in fp32, and with a count of rows."""
    for name, loss in LOSSES.items():
        _differentiate(make_case(257, 576, 5003, dtype=BF16), loss, **WAYS["blocks"])
        if name not in ("ppo-kl", "ppo-k2-entropy", "gspo-all"):
            continue
        for limits in WAYS.values():
            _differentiate(make_case(257, 576, 5003, dtype=BF16), loss, **limits)
            _differentiate(make_case(300, 2048, 4099, dtype=BF16), loss, **limits)
            _differentiate(make_case(257, 576, 5003), loss, **limits)
            _differentiate(make_case(257, 576, 5003, dtype=BF16), loss, **limits, bound=True)


def call_awkward_sizes() -> None:
    """One row, one sequence, few tokens, a hidden size that bulk copies cannot take."""
    sizes = ((1, 64, 128), (1, 2048, 2), (16, 16, 257), (130, 100, 777))
    for (n, h, v), limits in pairs(sizes, WAYS.values()):
        case = make_case(n, h, v, dtype=BF16)
        case.columns["token_weights"].fill_(1.0)
        case.columns["advantages"].fill_(-0.7)
        _differentiate(case, LOSSES["gspo-all"], **limits)
        _differentiate(case, LOSSES["ppo"], **limits)
        linear_logp(case.hidden, case.weight, case.targets, impl="triton")


def call_the_rest() -> None:
    """Scoring in every dtype, losses on logits, scans, a main gradient, a scaled loss."""
    for dtype in (BF16, torch.float16, torch.float32):
        case = make_case(257, 576, 5003, dtype=dtype)
        linear_logp(case.hidden, case.weight, case.targets, impl="triton", chunk_rows=128)
        for loss in (LOSSES["ppo-k2-entropy"], LOSSES["gspo-all"], LOSSES["decoupled"]):
            logits = (case.hidden @ case.weight.t()).detach().requires_grad_()
            for inplace in (False, True):
                out = policy_loss(
                    logits, case.targets, **case.arguments(loss), impl="triton", inplace=inplace
                )
                if not inplace:
                    torch.autograd.grad(out.loss, logits)
    case = make_case(257, 576, 5003, dtype=BF16)
    for limits in WAYS.values():
        _differentiate(case, LOSSES["ppo"], main_grad=torch.zeros(case.weight.shape), **limits)
    for rows, sequences in ((1, 1), (5, 5), (5000, 3), (4096, 1)):
        bounds = torch.linspace(0, rows, sequences + 1).long()
        values = torch.randn(2, rows)
        mask = torch.rand(rows) < 0.7
        for kept, cuts in ((None, bounds), (mask, bounds.int())):
            gae(values[0], values[1], cuts, mask=kept, impl="triton")
            turn_gae(values[0], values[1], cuts, cuts, mask=kept, impl="triton")
            discounted_returns(values[0], cuts, mask=kept, impl="triton")
            segment_means(values[0], cuts, mask=kept, impl="triton")


def _differentiate(case: Case, loss: LossConfig, *, bound: bool = False, **limits: Any) -> None:
    count = int((case.columns["token_weights"] != 0).sum()) if bound else None
    out = linear_policy_loss(
        case.hidden,
        case.weight,
        case.targets,
        **case.arguments(loss),
        impl="triton",
        active_rows=count,
        **limits,
    )
    out.loss.backward()  # type: ignore[no-untyped-call]  # torch's own


def main() -> None:
    with pretended() as driver:
        call_losses()
        call_awkward_sizes()
        call_the_rest()
    grids = {name: sorted(found) for name, found in driver.grids.items()}
    sys.stdout.write(
        json.dumps({"binaries": driver.binaries, "grids": grids, "boxes": driver.boxes})
    )


if __name__ == "__main__":
    main()
