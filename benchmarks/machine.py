"""The machine and the options of a run, for its result."""

import argparse
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import psutil

FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Of processors, that decide how fast the arithmetic here is."""


def machine() -> dict[str, Any]:
    """Processor with the flags that matter here, load, memory and system."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = {
        line.split(":")[0].strip(): line.partition(":")[2].strip() for line in told.splitlines()
    }
    return {
        "processor": lines.get("model name") or platform.processor() or platform.machine(),
        "flags": [flag for flag in FLAGS if flag in lines.get("flags", "").split()],
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def about(options: argparse.Namespace) -> dict[str, Any]:
    """The day, the machine and the options of a run."""
    return {
        "date": date.today().isoformat(),
        **machine(),
        "options": {k: v for k, v in vars(options).items() if k not in ("directory", "dry")},
    }
