"""In which number format the engine and the trainer calculate: one answer for both.

Weights are published in bf16 whatever it is; this is the type that activations and products have.
A processor without bf16 products takes many times as long for them as for fp32. Imports no torch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Dtype = Literal["bfloat16", "float32"]
DtypeSetting = Literal["auto", "bfloat16", "float32"]

SETTING = "[policy] dtype"
CPUINFO = Path("/proc/cpuinfo")
GPUS = Path("/proc/driver/nvidia/gpus")
# How Linux names bf16 products: x86 (AVX-512, AMX), then Arm.
FAST_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
# What oneDNN, which does torch's bf16 products on a CPU, may be held to; with these it has none.
# Its documentation: "CPU Dispatcher Control". ATEN_CPU_CAPABILITY leaves the products fast.
CAPS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
CAPPED = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}


@dataclass(kw_only=True, slots=True, frozen=True)
class Arithmetic:
    """A number format, and why it is this one.

    Example:
        Arithmetic(dtype="float32", reason="this CPU has no bf16 products")
    """

    dtype: Dtype
    reason: str


def choose(
    setting: DtypeSetting = "auto",
    *,
    device: str = "cpu",
    flags: frozenset[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Arithmetic:
    """The format that a setting means on a processor.

    Args:
        setting: anything but "auto" is obeyed.
        device: a torch device; every GPU is taken to be fast in bf16. Where engine and trainer
            are on different devices, ask with the CPU's: it is the one that can be slow.
        flags: the CPU's features as Linux names them; None reads this machine's.
        environment: where oneDNN's limits are looked up.

    """
    if setting != "auto":
        return Arithmetic(dtype=setting, reason=f"{SETTING} asks for it")
    if not device.startswith("cpu"):
        return Arithmetic(dtype="bfloat16", reason=f"{device} has bf16 products")
    flags = cpu_flags() if flags is None else flags
    fast = next((flag for flag in FAST_FLAGS if flag in flags), None)
    if fast is None:
        known = "this CPU has no bf16 products" if flags else f"no CPU flags in {CPUINFO}"
        return Arithmetic(dtype="float32", reason=known)
    for cap in CAPS:
        if (isa := environment.get(cap, "").upper()) in CAPPED:
            return Arithmetic(dtype="float32", reason=f"{cap}={isa} takes bf16 products away")
    return Arithmetic(dtype="bfloat16", reason=f"this CPU has {fast}")


@cache
def cpu_flags() -> frozenset[str]:
    """The features of this machine's CPU; empty where Linux does not tell them."""
    try:
        return parse_flags(CPUINFO.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return frozenset()


def has_gpu(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether Linux has a driver for a GPU of NVIDIA that this process may use. Asks no torch."""
    allowed = environment.get("CUDA_VISIBLE_DEVICES", "all") not in ("", "-1")
    return allowed and GPUS.is_dir() and any(GPUS.iterdir())


def parse_flags(cpuinfo: str) -> frozenset[str]:
    """The features that all cores of a `/proc/cpuinfo` have."""
    cores = [
        frozenset(value.split())
        for name, _, value in (line.partition(":") for line in cpuinfo.splitlines())
        if name.strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*cores) if cores else frozenset()
