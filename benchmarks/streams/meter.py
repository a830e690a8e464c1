"""What the parts' processes cost: CPU seconds and peak memory, as the kernel counts them."""

import re
from collections.abc import Mapping
from pathlib import Path

import psutil

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """CPU seconds, user and system, of each part's processes since they began."""
    return {name: sum(_cpu(process) for process in _family(pid)) for name, pid in pids.items()}


def by_stage(of_parts: Mapping[str, float]) -> dict[str, float]:
    """Amounts of parts, those of a stage's workers (`assemble`, `assemble-1`) summed."""
    amounts: dict[str, float] = {}
    for name, amount in of_parts.items():
        stage = name.partition("-")[0]
        amounts[stage] = amounts.get(stage, 0.0) + amount
    return amounts


def peak_bytes(pids: Mapping[str, int]) -> dict[str, int]:
    """Most resident memory that each part's processes ever had, file-backed pages included."""
    return {name: sum(_peak(process.pid) for process in _family(pid)) for name, pid in pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _peak(pid: int) -> int:
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0
