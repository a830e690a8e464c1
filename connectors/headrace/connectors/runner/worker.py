"""A worker process: runs jobs in threads, or one alone, and says what came of them."""

import ctypes
import os
import signal
import tempfile
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from headrace.connectors.commands.private import hiding
from headrace.connectors.described import error_facts, type_name
from headrace.connectors.instrument.names import HIDE_HEADER
from headrace.connectors.loopback import exempt
from headrace.connectors.runner.agent import call_agent, import_from_here
from headrace.connectors.runner.jobs import Done, Failure, Interrupt, Job
from headrace.connectors.runner.limits import Limits
from headrace.connectors.runner.scratch import scratch_environment
from headrace.connectors.sdk import Attempt, SdkConfig, Telemetry

_FLUSH_S = 10.0
_HEADERS = ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS")


def main(connection: Connection, config: SdkConfig) -> None:
    """Run jobs that come over the connection until it says None or its other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group
    exempt()  # the agents' own clients reach the gateway without a proxy
    import_from_here()
    _hide(config)
    # Started by the first span that a tool records itself: most agents record none.
    telemetry = Telemetry(config, lazy=True)
    results: SimpleQueue[Done] = SimpleQueue()
    threads: dict[int, threading.Thread] = {}

    def run(job: Job) -> None:
        try:
            results.put(_run(job, telemetry))
        except BaseException as error:  # whatever it is, the runner waits for an answer
            failure = Failure(name=type_name(error), message="", trace="")
            results.put(Done(key=job.key, failure=failure))
        threads.pop(job.key, None)

    # In a thread of its own: an interrupted job must not leave half an answer in the pipe.
    threading.Thread(target=_answer, args=(connection, results), daemon=True).start()
    while True:
        try:
            told: Job | Interrupt | None = connection.recv()
        except EOFError:  # the runner is gone
            told = None
        if told is None:
            telemetry.close()
            os._exit(0)  # an agent that hangs must not keep the process
        if isinstance(told, Interrupt):
            _interrupt(threads.get(told.key))
            continue
        thread = threading.Thread(target=run, args=(told,), daemon=True)
        threads[told.key] = thread
        thread.start()


def alone(
    connection: Connection, config: SdkConfig, job: Job, limits: Limits, folder: Path
) -> None:
    """Run one job in this process, which is its own session and held to limits, and end."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    os.environ.update(scratch_environment(folder))
    tempfile.tempdir = None  # asked again: the server may have asked before
    exempt()
    import_from_here()
    _hide(config)
    limits.put_on_this()
    telemetry = Telemetry(config, lazy=True)
    try:
        done = _run(job, telemetry)
    except BaseException as error:  # whatever it is, the runner waits for an answer
        done = Done(key=job.key, failure=Failure(name=type_name(error), message="", trace=""))
    if (failure := done.failure) is not None:
        limit = limits.broken_by(failure.name, failure.message)
        done = replace(done, failure=replace(failure, limit=limit))
    connection.send(done)
    telemetry.close()
    os._exit(0)  # threads of an agent that go on must not keep the process


def _end_with(connection: Connection) -> None:
    """End this process and what it started when the runner is gone."""
    with suppress(EOFError, OSError):
        connection.recv()
    os.killpg(0, signal.SIGKILL)


class Interrupted(BaseException):
    """Raised in the thread of an agent whose task was cancelled."""


def _interrupt(thread: threading.Thread | None) -> None:
    if thread is not None and thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Interrupted)
        )


def _answer(connection: Connection, results: "SimpleQueue[Done]") -> None:
    with suppress(OSError):  # the runner is gone
        while True:
            connection.send(results.get())


def _hide(config: SdkConfig) -> None:
    """Tell the gateway what the switches hide: agents' clients send what the variables hold."""
    hidden = hiding(config.privacy, config.hidden, config.project)
    for name in _HEADERS if hidden else ():
        lines = [line for line in os.environ.get(name, "").splitlines() if line.strip()]
        os.environ[name] = "\n".join([*lines, f"{HIDE_HEADER}: {hidden}"])


def _run(job: Job, telemetry: Telemetry) -> Done:
    attempt = Attempt(
        telemetry,
        job.rollout_id,
        job.attempt,
        project=job.project,
        subject=job.subject,
        agent=job.agent,
        root=job.root,
    )
    try:
        exempt(os.environ, job.base_url)
        with attempt:
            result = call_agent(job)
        done = Done(key=job.key, output=result.text, replaced=result.replaced)
    except BaseException as error:  # SystemExit too: an agent ends its attempt, not the worker
        name, message, trace = error_facts(error)
        failure = Failure(name=name, message=message, trace=trace)
        done = Done(key=job.key, failure=failure)
    if attempt.emitted:  # the end marker may not overtake the tools' spans
        telemetry.flush(_FLUSH_S)
    return done
