"""Somebody who reads the pages and types what they say, in a folder and on ports of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, ClickHouseUnavailable
from headrace.infra.embedded.ports import free_port
from headrace.infra.errors import PartFailed
from headrace.infra.launch import background
from headrace.infra.settings import Settings
from headrace.infra.supervise import read_status
from tests.support.waiting import wait_until

SECONDS = 300.0
PAUSE = 0.2
DEFAULTS = Settings()
SETTINGS = """
[kafka]
port = {kafka}
controller_port = {controller}

[registry]
port = {registry}

[clickhouse]
port = {clickhouse}

[gateway]
port = {gateway}

[otlp]
port = {otlp}

[console]
port = {console}

[policy]
model = "{model}"
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Typed:
    """What came of a line."""

    line: str
    code: int
    output: str
    errors: str

    def ended(self, *codes: int) -> str:
        """Its output; AssertionError if it ended with another code."""
        assert self.code in codes, f"ended with code {self.code}: {self}"
        return self.output

    def __str__(self) -> str:
        """All of it."""
        return f"{self.line}\n{self.output}\n{self.errors}"


@dataclass(slots=True)
class Reader:
    """Types lines into a shell. A context manager: at its end nothing of it runs any more."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    """What the reader has exported."""
    notes: dict[str, str] = field(default_factory=dict)
    """What earlier lines told and later ones need."""
    _ports: dict[int, int] = field(default_factory=dict)
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def settle(self, model: Path, more: str) -> None:
        """Write headrace.toml: free ports, a model, and what a page says to put there."""
        ours = {
            "kafka": DEFAULTS.kafka.port,
            "controller": DEFAULTS.kafka.controller_port,
            "registry": DEFAULTS.registry.port,
            "clickhouse": DEFAULTS.clickhouse.port,
            "gateway": DEFAULTS.gateway.port,
            "otlp": DEFAULTS.otlp.port,
            "console": DEFAULTS.console.port,
        }
        self._ports = {port: free_port() for port in ours.values()}
        here = {name: self._ports[port] for name, port in ours.items()}
        text = SETTINGS.format(model=model, **here) + more
        (self.folder / "headrace.toml").write_text(text)

    def here(self, text: str) -> str:
        """A page's text with this reader's ports: all that is changed in what the pages say."""
        return re.sub(r"127\.0\.0\.1:(\d+)", lambda m: f"127.0.0.1:{self._ports[int(m[1])]}", text)

    def type(self, line: str, **exported: str) -> Typed:
        """Run a line of a page to its end, but for SECONDS at most."""
        return self._wait(self.start(line, **exported))

    def start(self, line: str, **exported: str) -> subprocess.Popen[str]:
        """Begin to run a line of a page."""
        process = subprocess.Popen(
            ["bash", "-c", self.here(line)],
            cwd=self.folder,
            env={**_shell(), **self.environment, **exported},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group, as a terminal's: a signal reaches all of it
        )
        self._started.append(process)
        return process

    def interrupt(self, process: subprocess.Popen[str], number: signal.Signals) -> Typed:
        """Send a signal as a terminal does, and wait for the end."""
        os.killpg(process.pid, number)
        return self._wait(process)

    def write(self, name: str, text: str) -> None:
        """Save a file in the reader's folder."""
        (self.folder / name).write_text(self.here(text))

    def await_row(self, query: str) -> dict[str, Any]:
        """The first row of an answer of ClickHouse, as soon as there is one."""
        url = self.here(f"http://127.0.0.1:{DEFAULTS.clickhouse.port}")
        client = ClickHouse(ClickHouseConfig(url=url, database=DEFAULTS.clickhouse.database))
        rows: list[dict[str, Any]] = []

        def ask() -> bool:
            rows[:] = client.query(query)
            return bool(rows)

        try:
            wait_until(ask, f"a row of {query}", SECONDS, pause_s=PAUSE)
        except ClickHouseUnavailable as error:
            raise AssertionError(f"headrace is not up for {query}: {error}") from error
        finally:
            client.close()
        return rows[0]

    @property
    def data(self) -> Path:
        """Their data directory."""
        return self.folder / DEFAULTS.data.directory

    def is_up(self) -> bool:
        """Whether a headrace runs in the folder."""
        status = read_status(self.data)
        return status is not None and status.running

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(self, _type: object, failure: BaseException | None, _trace: object) -> None:
        """Stop what still runs, whatever happened."""
        for process in self._started[:]:
            ended = self._end(process)
            if failure is not None:
                failure.add_note(f"still ran then: {ended}")
        try:
            background.stop(self.data)
        except PartFailed:
            status = read_status(self.data)
            if status is not None and status.running:
                os.kill(status.pid, signal.SIGKILL)  # its parts die with it
            raise

    def _wait(self, process: subprocess.Popen[str]) -> Typed:
        line = str(process.args[-1]) if isinstance(process.args, list) else ""
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{line}\nstill ran after {SECONDS:.0f} s") from None
        self._started.remove(process)
        return Typed(line=line, code=process.returncode, output=output, errors=errors)

    def _end(self, process: subprocess.Popen[str]) -> Typed:
        os.killpg(process.pid, signal.SIGINT)  # a demo then stops what it has started
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        return self._wait(process)


def _shell() -> dict[str, str]:
    """The environment of a new shell with .venv/bin on its path."""
    tests_own = ("HEADRACE_", "MAKE", "PYTEST_", "PYTHON", "TRITON_", "OMP_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "HEADRACE_CACHE" or not name.startswith(tests_own)
    }
    path = os.pathsep.join((f"{sys.prefix}/bin", kept.get("PATH", os.defpath)))
    return {**kept, "PATH": path, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
