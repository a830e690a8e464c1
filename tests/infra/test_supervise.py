"""Supervision, with small Python programs as parts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from headrace.infra.embedded import ports
from headrace.infra.errors import AlreadyRunning, PartFailed, SettingsError
from headrace.infra.supervise import Part, State, Supervisor, read_status, runner
from headrace.infra.supervise import logs as part_logs
from tests.support.supervised import DEADLINE_S, FOREVER, Lab
from tests.support.waiting import wait_until


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what follows a crash, whatever the pause."""
    monkeypatch.setattr(runner, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setattr(runner, "_POLL_S", 0.02)
    lab = Lab(tmp_path)
    yield lab
    if lab.supervisor is not None:
        lab.supervisor.stop()


def test_parts_start_after_those_they_need_and_stop_before_them(lab: Lab) -> None:
    parts = [
        lab.part("kafka"),
        lab.part("registry", depends=("kafka",)),
        lab.part("worker", depends=("kafka", "registry")),
    ]
    with lab.supervise(*parts):
        assert lab.events.order(State.READY) == ["kafka", "registry", "worker"]
    assert lab.events.order(State.STOPPED) == ["worker", "registry", "kafka"]


def test_set_up_runs_before_the_parts_that_need_it_start(lab: Lab) -> None:
    steps: list[str] = []
    parts = [
        lab.part("kafka", setup=lambda: steps.append("topics")),
        lab.part("worker", depends=("kafka",), prepare=lambda: steps.append("worker")),
    ]
    with lab.supervise(*parts):
        assert steps == ["topics", "worker"]


def test_stopping_leaves_no_process_of_any_part(lab: Lab) -> None:
    with_child = """
        import signal, subprocess, sys
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("up", flush=True)
        signal.pause()
    """
    with lab.supervise(lab.part("plain"), lab.part("parent", with_child)):
        pids = {lab.pid("plain"), lab.pid("parent")}
        pids |= {child.pid for child in psutil.Process(lab.pid("parent")).children()}
        assert len(pids) == 3
    assert not any(_lives(pid) for pid in pids)
    assert {lab.state(name).pid for name in ("plain", "parent")} == {None}


def test_a_part_that_ignores_sigterm_is_killed_after_the_grace(lab: Lab) -> None:
    stubborn = """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", flush=True)
        while True: signal.pause()
    """
    with lab.supervise(lab.part("stubborn", stubborn, stop_grace_s=0.2)):
        pid = lab.pid("stubborn")
    assert not _lives(pid)


def test_a_killed_part_is_started_again_and_told_of(lab: Lab) -> None:
    with lab.supervise(lab.part("kafka")) as supervisor:
        first = lab.pid("kafka")
        for restarts in range(3):
            os.kill(lab.pid("kafka"), signal.SIGKILL)
            state = supervisor.wait_for_restart("kafka", after=restarts, timeout_s=DEADLINE_S)
        assert state.pid not in (first, None)
        assert (state.restarts, state.crashes, state.state) == (3, 3, State.READY)
        assert "up" in state.last_log
    messages = [message for _, state, message in lab.events.seen if state is State.CRASHED]
    assert "killed by signal 9" in messages[0]
    pauses = [message.split("again in ")[1].split(" s")[0] for message in messages]
    assert pauses == ["0.25", "0.5", "1"]


def test_a_planned_exit_is_a_restart_but_not_a_crash(lab: Lab) -> None:
    once = """
        import os, signal
        print("up", flush=True)
        signal.signal(signal.SIGUSR1, lambda *_: os._exit(3))
        print("armed", flush=True)
        while True: signal.pause()
    """
    part = lab.part("worker", once, planned_exits=frozenset({3}))
    log = part.log
    with lab.supervise(part) as supervisor:
        wait_until(lambda: "armed" in log.read_text(), "the part to be armed")
        os.kill(lab.pid("worker"), signal.SIGUSR1)
        state = supervisor.wait_for_restart("worker", after=0, timeout_s=DEADLINE_S)
        assert (state.restarts, state.crashes) == (1, 0)
    assert State.CRASHED not in {state for _, state, _ in lab.events.seen}


def test_a_part_that_says_that_no_start_will_do_is_not_started_again(lab: Lab) -> None:
    refused = """
        import os, signal
        print("up", flush=True)
        signal.signal(signal.SIGUSR1, lambda *_: (print("another base", flush=True), os._exit(3)))
        print("armed", flush=True)
        while True: signal.pause()
    """
    part = lab.part("worker", refused, final_exits=frozenset({3}))
    with lab.supervise(part):
        wait_until(lambda: "armed" in part.log.read_text(), "the part to be armed")
        os.kill(lab.pid("worker"), signal.SIGUSR1)
        wait_until(lambda: lab.state("worker").state is State.FAILED, "the part to fail")
        state = lab.state("worker")
    assert state.message.endswith("is not started again; last log line: another base")
    assert (state.restarts, state.pid) == (0, None)


def test_a_start_that_is_refused_once_is_given_up_at_once(lab: Lab) -> None:
    part = lab.part("worker", "raise SystemExit(3)", final_exits=frozenset({3}))
    with pytest.raises(PartFailed, match="ended with exit code 3"), lab.supervise(part):
        pass
    assert lab.state("worker").restarts == 0


@pytest.mark.usefixtures("short_pauses")
def test_a_restarted_part_waits_for_the_one_it_needs(lab: Lab) -> None:
    gate = threading.Event()
    gate.set()
    kafka = lab.part("kafka", ready=gate.is_set)
    worker = lab.part("worker", depends=("kafka",))
    with lab.supervise(kafka, worker) as supervisor:
        gate.clear()
        os.kill(lab.pid("kafka"), signal.SIGKILL)
        lab.events.wait_for(lambda event: event[:2] == ("kafka", State.STARTING), count=2)
        waits = ("worker", State.WAITING, "waiting for kafka")
        before = lab.events.seen.count(waits)  # none, if kafka was ready at once
        os.kill(lab.pid("worker"), signal.SIGKILL)
        lab.events.wait_for(waits.__eq__, before + 1)
        gate.set()
        supervisor.wait_for_restart("worker", after=0, timeout_s=DEADLINE_S)


def test_a_slow_part_is_reported_with_what_is_waited_for(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_REPORT_EVERY_S", 0.1)
    told = threading.Event()

    def on_event(part: str, state: State, message: str) -> None:
        lab.events(part, state, message)
        if message.startswith("no answer yet ("):
            told.set()

    part = lab.part("kafka", ready=told.is_set, endpoint="127.0.0.1:9092")
    with Supervisor([part], on_event, run_dir=lab.directory):
        assert told.is_set()


def test_a_probe_that_raises_counts_as_no_answer(lab: Lab) -> None:
    asked: list[int] = []

    def probe() -> bool:
        asked.append(1)
        if len(asked) < 3:
            raise OSError("reset by peer")
        return True

    with lab.supervise(lab.part("gateway", ready=probe)):
        assert len(asked) >= 3


@pytest.mark.usefixtures("short_pauses")
def test_start_gives_up_on_a_part_that_keeps_crashing_and_shows_why(lab: Lab) -> None:
    broken = "import sys; sys.exit('bad configuration: colour')"
    supervisor = lab.supervise(lab.part("kafka"), lab.part("gateway", broken, ready=lambda: False))
    with pytest.raises(PartFailed, match="exit code 1, 3 times") as failed:
        supervisor.start()
    assert failed.value.part == "gateway"
    assert "bad configuration: colour" in str(failed.value)
    assert lab.state("kafka").state is State.STOPPED
    assert lab.state("gateway").state is State.FAILED


def test_start_gives_up_on_a_part_that_is_never_ready(lab: Lab) -> None:
    supervisor = lab.supervise(lab.part("slow", ready=lambda: False, ready_timeout_s=0.3))
    with pytest.raises(PartFailed, match="not ready after"):
        supervisor.start()
    assert lab.state("slow").pid is None


def test_a_port_in_use_ends_the_start_with_the_setting_named(lab: Lab) -> None:
    port = ports.free_port()
    part = lab.part("kafka", prepare=lambda: ports.ensure_free(port, "Kafka", "kafka.port"))
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, port))
        listener.listen()
        with pytest.raises(PartFailed, match=f"{port}.*Kafka.*kafka.port"):
            lab.supervise(part).start()
    assert not part.log.exists()


@pytest.mark.usefixtures("short_pauses")
def test_a_command_that_does_not_exist_is_named(lab: Lab) -> None:
    part = Part(
        name="gone",
        command=["/no/such/program"],
        ready=lambda: False,
        log=lab.directory / "gone.log",
    )
    with pytest.raises(PartFailed, match="cannot run /no/such/program"):
        lab.supervise(part).start()


def test_one_directory_has_one_supervisor(lab: Lab) -> None:
    with lab.supervise(lab.part("kafka")):
        second = Supervisor([lab.part("kafka")], lab.events, run_dir=lab.directory)
        with pytest.raises(AlreadyRunning, match=str(os.getpid())):
            second.start()
        assert _lives(lab.pid("kafka"))
    with lab.supervise(lab.part("kafka")):
        assert lab.state("kafka").state is State.READY


@pytest.mark.parametrize(
    ("depends", "message"),
    [({"a": ("b",), "b": ()}, "list b before it"), ({"a": ("a",)}, "list a before it")],
)
def test_dependencies_come_first(
    lab: Lab, depends: dict[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        lab.supervise(*[lab.part(name, depends=needs) for name, needs in depends.items()])


def test_another_process_reads_the_state(lab: Lab) -> None:
    assert read_status(lab.directory) is None
    with lab.supervise(lab.part("kafka", endpoint="127.0.0.1:9092")):
        status = read_status(lab.directory)
        assert status is not None
        assert status.running
        assert status.parts == (lab.state("kafka"),)
        assert status.parts[0].endpoint == "127.0.0.1:9092"
    status = read_status(lab.directory)
    assert status is not None
    assert [part.state for part in status.parts] == [State.STOPPED]


def test_a_killed_supervisor_leaves_no_orphans_and_counts_as_stopped(lab: Lab) -> None:
    program = f"""
        import pathlib, sys, signal
        from headrace.infra.supervise import Part, Supervisor
        folder = pathlib.Path({str(lab.directory)!r})
        part = Part(name="kafka", command=[sys.executable, "-c", {FOREVER!r}],
                    ready=lambda: (folder / "kafka.log").stat().st_size > 0,
                    log=folder / "kafka.log")
        with Supervisor([part], lambda *event: None, run_dir=folder):
            print("started", flush=True)
            signal.pause()
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed:
        try:
            assert killed.stdout is not None
            assert killed.stdout.readline() == "started\n"
            status = read_status(lab.directory)
            assert status is not None
            assert status.running
            pid = status.parts[0].pid
            assert pid is not None
        finally:
            killed.kill()
    wait_until(lambda: not _lives(pid), "the end of the process")
    status = read_status(lab.directory)
    assert status is not None
    assert not status.running
    assert (status.parts[0].state, status.parts[0].pid) == (State.STOPPED, None)
    with lab.supervise(lab.part("kafka")):  # nor does its lock stay
        assert lab.state("kafka").state is State.READY


def test_one_old_log_is_kept(lab: Lab) -> None:
    part = lab.part("kafka")
    for life in ("first", "second", "third"):
        part.log.write_text(f"{life} life\n")
        with lab.supervise(part):
            pass
    assert part.log.read_text() == "up\n"
    assert part.log.with_name("kafka.log.1").read_text() == "third life\n"


def test_a_log_that_grows_too_large_is_cut_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_logs, "MAX_BYTES", 100)
    log = tmp_path / "kafka.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 101)
        part_logs.bound(log)
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert log.with_name("kafka.log.1").stat().st_size == 101


def _lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
