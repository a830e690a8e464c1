"""The machine and the options of a run, for its result."""

import argparse
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import psutil

_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """Processor with the flags that matter here, memory, system, day and options."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    lines = {
        line.split(":")[0].strip(): line.partition(":")[2].strip() for line in told.splitlines()
    }
    return {
        "date": date.today().isoformat(),
        "processor": lines.get("model name", platform.processor()),
        "flags": [flag for flag in _FLAGS if flag in lines.get("flags", "").split()],
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "options": {k: v for k, v in vars(options).items() if k not in ("directory", "dry")},
    }
