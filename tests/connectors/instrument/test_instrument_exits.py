"""No span is lost and none comes twice, however an agent's process ends."""

import json
import signal

import pytest

from tests.connectors.instrument.watched import ROOT, Seen, Workplace, send

SPANS = """
    import os, signal, sys, threading, time
    from opentelemetry import trace
    tracer = trace.get_tracer("agent")
    with tracer.start_as_current_span("first"):
        with tracer.start_as_current_span("inner"):
            pass
"""
WAIT = """
    with tracer.start_as_current_span("open"):
        print("waiting", flush=True)
        time.sleep(60)
"""


def test_spans_hang_under_the_attempts_start(workplace: Workplace) -> None:
    seen = workplace.run(SPANS)
    assert seen.code == 0
    assert seen.names == ["first", "inner"]
    assert seen.named("inner").parent_id == seen.named("first").span_id
    assert seen.named("first").parent_id == ROOT
    assert [span.span_id for span in seen.spans if span.kind == "attempt.start"] == [ROOT]
    assert seen.spans[-1].kind == "attempt.end"
    assert seen.told.durable == "delivered"
    assert list((workplace.directory / "attempts").iterdir()) == []


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(3)", 3),
        ("os._exit(4)", 4),
        ("threading.Thread(target=lambda: os._exit(5)).start(); time.sleep(60)", 5),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os.abort()", -6),
    ],
)
def test_an_end_of_any_kind_loses_nothing_that_ended(
    workplace: Workplace, end: str, code: int
) -> None:
    seen = workplace.run(SPANS + f"    {end}\n")
    assert seen.code == code
    assert seen.names == ["first", "inner"]


def reason_of(seen: Seen) -> str:
    return str(json.loads(seen.spans[-1].attributes)["error.message"])


RAISING = [
    ("raise RuntimeError('no')", "exit code 1: RuntimeError: no"),
    ("import decimal; decimal.Decimal('x')", "exit code 1: decimal.InvalidOperation: [<class"),
    ("sys.excepthook = print; raise RuntimeError", "exit code 1: RuntimeError"),
    ("sys.exit('broken')", "exit code 1"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9"),
]


@pytest.mark.parametrize(("end", "reason"), RAISING)
def test_an_attempt_that_failed_says_why(workplace: Workplace, end: str, reason: str) -> None:
    seen = workplace.run(SPANS + f"    {end}\n")
    assert seen.spans[-1].status == "error"
    assert reason_of(seen).startswith(reason)
    assert reason_of(seen)[len(reason) :][:1] != ":"


def test_what_nobody_caught_is_a_span_with_its_traceback(workplace: Workplace) -> None:
    seen = workplace.run(SPANS + "    raise RuntimeError('no')\n")
    assert seen.names == ["RuntimeError", "first", "inner"]
    told = seen.named("RuntimeError")
    assert (told.kind, told.status, told.parent_id) == ("exception", "error", ROOT)
    assert "raise RuntimeError('no')" in told.output


def test_an_exception_that_a_span_has_told_is_told_once(workplace: Workplace) -> None:
    inside = """
    with tracer.start_as_current_span("last"):
        raise RuntimeError('no')
"""
    seen = workplace.run(SPANS + inside)
    assert seen.names == ["RuntimeError", "first", "inner", "last"]
    assert seen.named("RuntimeError").parent_id == seen.named("last").span_id
    assert reason_of(seen) == "exit code 1: RuntimeError: no"


def test_the_exception_of_another_process_is_the_reason_where_the_command_has_none(
    workplace: Workplace,
) -> None:
    started = """
    import subprocess
    sys.exit(subprocess.run([sys.executable, "-c", "raise RuntimeError('no')"]).returncode)
"""
    assert reason_of(workplace.run(SPANS + started)) == "exit code 1: RuntimeError: no"


@pytest.mark.parametrize(
    ("number", "how"),
    [(signal.SIGTERM, "signal 15"), (signal.SIGKILL, "signal 9"), (signal.SIGHUP, "signal 1")],
)
def test_a_signal_ends_the_open_span_with_an_error(
    workplace: Workplace, number: signal.Signals, how: str
) -> None:
    seen = workplace.run(SPANS + WAIT, when="waiting", then=send(number))
    assert seen.code == -number
    assert seen.names == ["first", "inner", "open"]
    assert seen.named("open").status == "error"
    assert how in seen.named("open").output


def test_ctrl_c_is_an_exception_that_the_span_records(workplace: Workplace) -> None:
    seen = workplace.run(SPANS + WAIT, when="waiting", then=send(signal.SIGINT))
    assert seen.code == -signal.SIGINT
    assert seen.names == ["first", "inner", "open"]
    assert seen.named("open").status == "error"


def test_a_time_out_is_an_error_of_the_span_that_it_cuts_off(workplace: Workplace) -> None:
    seen = workplace.run(
        SPANS
        + """
    import asyncio
    async def slow():
        with tracer.start_as_current_span("slow"):
            await asyncio.sleep(60)
    async def main():
        try:
            await asyncio.wait_for(slow(), 0.01)
        except TimeoutError:
            with tracer.start_as_current_span("after"):
                pass
    asyncio.run(main())
"""
    )
    assert seen.named("slow").status == "error"
    assert "CancelledError" in seen.named("slow").output
    assert seen.named("after").status == "ok"


def test_an_agents_own_handler_of_sigterm_stays_its_own(workplace: Workplace) -> None:
    handler = "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
    seen = workplace.run(SPANS + handler + WAIT, when="waiting", then=send(signal.SIGTERM))
    assert seen.code == 7
    assert seen.names == ["first", "inner", "open"]


def test_threads_and_tasks_write_side_by_side(workplace: Workplace) -> None:
    seen = workplace.run(
        SPANS
        + """
    import asyncio
    def work(n):
        for i in range(50):
            with tracer.start_as_current_span(f"t{n}-{i}"):
                pass
    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    async def one(n):
        with tracer.start_as_current_span(f"a{n}"):
            await asyncio.sleep(0)
    async def main():
        await asyncio.gather(*(one(n) for n in range(50)))
    asyncio.run(main())
    [t.join() for t in threads]
"""
    )
    wanted = {f"t{n}-{i}" for n in range(8) for i in range(50)} | {f"a{n}" for n in range(50)}
    assert seen.names == sorted(wanted | {"first", "inner"})
    assert len({span.span_id for span in seen.spans}) == len(seen.spans)


def test_an_agent_that_seeds_random_has_other_ids_and_the_same_draws(
    workplace: Workplace,
) -> None:
    seeded = "    import random; random.seed(1)\n"
    one = workplace.run(seeded + SPANS + "    print(random.random())\n")
    two = workplace.run(seeded + SPANS + "    print(random.random())\n")
    assert one.output == two.output == "0.13436424411240122\n"
    assert not {s.span_id for s in one.spans[1:]} & {s.span_id for s in two.spans[1:]}
