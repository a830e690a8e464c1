"""Parts that run and do not answer."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.infra.embedded import ports, probe
from headrace.infra.supervise import State, pulse, read_status
from tests.support.supervised import DEADLINE_S, Lab


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """Its supervisor asks often."""
    monkeypatch.setattr(pulse, "ASK_EVERY_S", 0.05)
    lab = Lab(tmp_path)
    yield lab
    if lab.supervisor is not None:
        lab.supervisor.stop()


def test_a_part_that_hangs_is_told_of_and_left_alone_until_it_answers_again(lab: Lab) -> None:
    port = ports.free_port()
    program = f"""
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()

        HTTPServer(("127.0.0.1", {port}), Answer).serve_forever()
    """
    part = lab.part(
        "server",
        program,
        ready=lambda: probe.get(f"http://127.0.0.1:{port}/", timeout=0.2) is not None,
        endpoint=f"http://127.0.0.1:{port}",
        silent_after_s=0.5,
    )
    with lab.supervise(part):
        pid = lab.pid("server")
        os.kill(pid, signal.SIGSTOP)
        lab.events.wait_for(lambda event: event[1] is State.SILENT, count=3)
        status = read_status(lab.directory)
        assert status is not None
        [told] = status.parts
        assert told.state is State.SILENT
        assert told.message.startswith("not answering for ")
        assert told.silent_s >= 0.5
        os.kill(pid, signal.SIGCONT)
        lab.events.wait_for(lambda event: event[1] is State.READY, count=2)
        assert lab.pid("server") == pid
        assert (lab.state("server").restarts, lab.state("server").crashes) == (0, 0)
        assert lab.state("server").silent_s == 0


def test_a_probe_that_never_returns_is_silence_and_holds_up_nothing(lab: Lab) -> None:
    hanging, released = threading.Event(), threading.Event()

    def ready() -> bool:
        if hanging.is_set():
            released.wait(DEADLINE_S)
        return True

    try:
        with lab.supervise(lab.part("worker", ready=ready, silent_after_s=0.3)):
            hanging.set()
            lab.events.wait_for(lambda event: event[1] is State.SILENT)
            os.kill(lab.pid("worker"), signal.SIGKILL)
            lab.events.wait_for(lambda event: event[1] is State.CRASHED)
            released.set()
            lab.events.wait_for(lambda event: event[1] is State.READY, count=2)
    finally:
        released.set()


def test_a_silent_part_can_be_stopped(lab: Lab) -> None:
    answers = [True]
    with lab.supervise(lab.part("worker", ready=lambda: answers[0], silent_after_s=0.3)):
        answers[0] = False
        lab.events.wait_for(lambda event: event[1] is State.SILENT)
    assert lab.state("worker").state is State.STOPPED
