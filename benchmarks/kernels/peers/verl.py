"""verl 0.9.1: its Triton kernel and its torch route, each from its file (the package wants Ray)."""

import functools
import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import torch
from benchmarks.kernels.cases import Case
from benchmarks.kernels.routes import Absent, Loss, Outcome, Provider, of_logp, peer


def triton_kernel() -> Loss:
    """`linear_cross_entropy`, which scores every row: it knows no mask."""
    _stub_package()
    module = peer("verl.utils.kernel.linear_cross_entropy")

    def loss(case: Case) -> Outcome:
        if case.hidden.shape[1] % 128:
            raise Absent(
                f"takes hidden sizes that are multiples of 128, not {case.hidden.shape[1]}"
            )
        logp, _ = module.linear_cross_entropy(case.hidden, case.weight, case.targets, 1.0, "none")
        return of_logp(case, logp)

    return loss


def in_torch() -> Loss:
    """`FusedLinearForPPO`: 512 rows at a time, logits in the inputs' type, recomputed."""
    _stub_package()
    function = peer("verl.utils.experimental.torch_functional").FusedLinearForPPO(
        impl_backend="torch"
    )

    def loss(case: Case) -> Outcome:
        logp, _ = function(case.hidden, case.weight, case.targets)
        return of_logp(case, logp)

    return loss


@functools.cache
def _stub_package() -> None:
    """Makes verl's files importable without what its packages import."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise Absent("import verl: it is not installed")
    folder = Path(spec.submodule_search_locations[0])
    for name in ("verl", "verl.utils", "verl.utils.kernel", "verl.utils.experimental"):
        stub = types.ModuleType(name)
        stub.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
        stub.__spec__ = ModuleSpec(name, None, is_package=True)  # others may ask for it
        sys.modules[name] = stub
    device: Any = types.ModuleType("verl.utils.device")
    device.get_device_capability = torch.cuda.get_device_capability
    device.get_device_name = lambda: "cuda"
    device.is_cuda_available = torch.cuda.is_available()
    device.get_torch_device = lambda: torch.cuda
    sys.modules["verl.utils.device"] = device


PROVIDERS = (
    Provider(name="verl linear cross-entropy", make=triton_kernel, device="cuda"),
    Provider(name="verl FusedLinearForPPO (torch)", make=in_torch),
)
