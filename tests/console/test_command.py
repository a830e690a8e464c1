"""`headrace console` and `headrace console keys` as processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from headrace.infra.cli.app import NO, WRONG_USE

HEADRACE = [sys.executable, "-m", "headrace.infra.cli", "console"]


def test_the_command_serves_pages_until_it_is_told_to_stop() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*HEADRACE, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert f"http://127.0.0.1:{port}/" in process.stdout.readline()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60) as answer:
                assert answer.read() == b"ok\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_keys_are_added_listed_and_taken_away(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*HEADRACE, *words],
            env={**os.environ, "HEADRACE_DATA_DIRECTORY": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    refused = run("--host", "0.0.0.0", "--port", "8091")
    assert refused.returncode == WRONG_USE
    assert "headrace console keys add" in refused.stderr
    added = run("keys", "add", "ann", "--role", "annotator")
    assert added.returncode == 0
    key = added.stdout.strip()
    assert len(key) == 43
    assert key not in added.stderr + (tmp_path / "console-keys.json").read_text()
    listed = run("keys", "list", "--json")
    (row,) = json.loads(listed.stdout)
    assert (row["name"], row["role"], set(row)) == ("ann", "annotator", {"name", "role", "added"})
    misplaced = run("--settings", "other.toml", "keys", "remove", "ann")
    assert misplaced.returncode == WRONG_USE
    assert "give them behind" in misplaced.stderr
    removed = run("keys", "remove", "ann")
    assert removed.returncode == 0
    assert "no key is left" in removed.stderr
    again = run("keys", "remove", "ann")
    assert again.returncode == NO
    assert "there is no key ann" in again.stderr
