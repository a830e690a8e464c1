"""`tests/kernels/test_on_gpu.py`, in several processes at once: most of the time is compilation."""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.device.book import tell
from benchmarks.device.options import part_options
from benchmarks.device.shard import LINES, SHARD, outcomes
from benchmarks.device.sources import ROOT

ON_GPU = "tests/kernels/test_on_gpu.py"
REHEARSED = "tests/kernels/test_advantages.py"
"""The other skips itself without a device; this one goes the same way."""


def main() -> int:
    """Runs the tests; 1 if one failed or none passed."""
    options = part_options("benchmarks.device.kernel_tests")
    count = 1 if options.rehearse else max(1, min(8, (os.cpu_count() or 1) // 2))
    file = REHEARSED if options.rehearse else ON_GPU
    files = [options.lines.with_suffix(f".shard{number}") for number in range(count)]
    running = [_start(file, number, count, lines) for number, lines in enumerate(files)]
    while any(one.poll() is None for one in running) and not options.is_over():
        time.sleep(0.2)
    unfinished = [one for one in running if one.poll() is None]
    for one in unfinished:
        one.kill()
        one.wait()
    found = [outcome for lines in files for outcome in outcomes(lines)]
    for lines in files:
        lines.unlink(missing_ok=True)
    for test, state, message in found:
        if state == "failed":
            tell(options.lines, test, state=state, message=message)
    passed = sum(state == "passed" for _, state, _ in found)
    failed = sum(state == "failed" for _, state, _ in found)
    tell(
        options.lines,
        Path(file).name,
        passed=passed,
        failed=failed,
        state="out of time, the rest did not run" if unfinished else "all ran",
    )
    return int(failed > 0 or passed == 0)


def _start(file: str, number: int, count: int, lines: Path) -> subprocess.Popen[bytes]:
    lines.unlink(missing_ok=True)
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-q", "--no-header", "--tb=short"),
            # Nothing of the project's own options: they need plugins, and servers' fixtures.
            *("-c", str(Path(__file__).with_name("pytest.ini")), "--rootdir", str(ROOT)),
            *("--confcutdir", str(ROOT / "tests" / "kernels"), "-p", "benchmarks.device.shard"),
            file,
        ],
        cwd=ROOT,
        env={**os.environ, SHARD: f"{number}/{count}", LINES: str(lines)},
    )


if __name__ == "__main__":
    sys.exit(main())
