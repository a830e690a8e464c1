"""Stopping a supervisor from the process that started it."""

import json
import subprocess
import sys
from pathlib import Path

import psutil

from headrace.infra.launch import background
from headrace.infra.supervise import read_status


def test_a_supervisor_that_ended_unwaited_for_counts_as_stopped(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        started = psutil.Process(child.pid).create_time()
        status = {"pid": child.pid, "started": started, "parts": []}
        (tmp_path / "status.json").write_text(json.dumps(status))
        found = read_status(tmp_path)
        assert found is not None
        assert found.running

        assert background.stop(tmp_path)  # our own child: it stays a zombie until we look
        assert not background.stop(tmp_path)
    finally:
        child.kill()
        child.wait()
