"""Processes that an agent starts: their spans come too, once, and hang where they belong."""

import pytest

from tests.connectors.instrument.watched import ROOT, Workplace

HEAD = """
import multiprocessing, os, subprocess, sys, time
from opentelemetry import trace
tracer = trace.get_tracer("agent")

def child(name="child"):
    with tracer.start_as_current_span(name):
        pass
"""


def test_a_fork_drops_the_spans_that_are_its_parents(workplace: Workplace) -> None:
    seen = workplace.run(
        HEAD
        + """
with tracer.start_as_current_span("outer"):
    pid = os.fork()
    if pid == 0:
        child()
    else:
        os.waitpid(pid, 0)
if pid == 0:
    sys.exit(0)
"""
    )
    assert seen.names == ["child", "outer"]
    assert seen.named("child").parent_id == seen.named("outer").span_id


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_lose_nothing(workplace: Workplace, method: str) -> None:
    seen = workplace.run(
        HEAD
        + f"""
if __name__ == "__main__":
    multiprocessing.set_start_method("{method}")
    with tracer.start_as_current_span("outer"):
        processes = [multiprocessing.Process(target=child, args=(f"c{{n}}",)) for n in range(3)]
        [p.start() for p in processes]
        [p.join() for p in processes]
"""
    )
    assert seen.names == ["c0", "c1", "c2", "outer"]
    outer = seen.named("outer").span_id
    assert {seen.named(f"c{n}").parent_id for n in range(3)} == {outer}


def test_a_python_process_hangs_under_the_span_that_started_it(workplace: Workplace) -> None:
    seen = workplace.run(
        HEAD
        + """
if len(sys.argv) > 1:
    child("grandchild" if sys.argv[1] == "2" else "child")
    if sys.argv[1] == "1":
        with tracer.start_as_current_span("between"):
            subprocess.run([sys.executable, __file__, "2"])
else:
    with tracer.start_as_current_span("outer"):
        subprocess.run([sys.executable, __file__, "1"])
    subprocess.run([sys.executable, "-c", "pass"], env={})
"""
    )
    assert seen.names == ["between", "child", "grandchild", "outer"]
    assert seen.named("child").parent_id == seen.named("outer").span_id
    assert seen.named("grandchild").parent_id == seen.named("between").span_id
    assert seen.named("outer").parent_id == ROOT
