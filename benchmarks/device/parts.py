"""The parts of a run, and how one is run: a process of its own, ended when its time is over."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.device.book import Found, read_lines
from benchmarks.device.sources import ROOT, environment

FIRST_CASES = (
    "smollm2-135m N=16384 dapo dense",
    "qwen3-1.7b N=16384 dapo dense",
    "llama-3.1-8b N=16384 dapo dense",
)
TURNS = ("--turns", "10", "--slow-turns", "3")
KERNELS = "benchmarks.kernels.run"


@dataclass(kw_only=True, slots=True, frozen=True)
class Part:
    """One part."""

    name: str
    share: float
    """Of the budget."""
    command: tuple[str, ...]
    """Module and arguments; {seconds}, {out} and {lines} are filled in."""
    rehearse: bool = False


def parts(*, rehearse: bool) -> list[Part]:
    """All parts, in the order in which they are worth most."""
    tiny = ("--rehearse",) if rehearse else ()
    own = ("--lines", "{lines}", "--seconds", "{seconds}", *tiny)
    timed = (KERNELS, "--out", "{out}", "--budget-seconds", "{seconds}", "--continue", *TURNS)
    # Without a device nothing is timed, and its check is what there is to rehearse.
    checked = (KERNELS, "--check", "--providers", "torch, whole logits")
    first = checked if rehearse else (*timed, "--only", *FIRST_CASES)
    rest = checked if rehearse else timed
    found = [
        ("kernel tests", 0.25, ("benchmarks.device.kernel_tests", *own)),
        ("float64", 0.08, ("benchmarks.device.accuracy", *own)),
        ("step", 0.13, ("benchmarks.device.step", *own)),
        ("kernels", 0.27, first),
        ("trainer", 0.25, ("benchmarks.device.speed", *own)),
        ("more kernels", 0.02, rest),  # and all that was left over
    ]
    return [Part(name=n, share=s, command=c, rehearse=rehearse) for n, s, c in found]


def run_part(part: Part, seconds: float, out: Path) -> Found:
    """Run a part for at most so many seconds; gives what it wrote, however it ended."""
    if seconds <= 0.0:
        return Found(part=part.name, state="left out: the time was spent", seconds=0.0, lines=[])
    out.mkdir(parents=True, exist_ok=True)
    lines = out / "device-lines.part"
    lines.unlink(missing_ok=True)
    # It is told a little less than what it is given, to end by itself.
    values = {"seconds": f"{0.9 * seconds:.1f}", "out": str(out), "lines": str(lines)}
    command = [argument.format(**values) for argument in part.command]
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        env=environment(part.rehearse),
        start_new_session=True,
    )
    try:
        code = process.wait(seconds)
        state = "done" if code == 0 else f"ended with code {code}"
    except subprocess.TimeoutExpired:
        state = "out of time"
    finally:
        with suppress(ProcessLookupError):  # its own processes too
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    found = read_lines(lines)
    lines.unlink(missing_ok=True)
    spent = time.monotonic() - begun
    return Found(part=part.name, state=state, seconds=round(spent, 1), lines=found)
