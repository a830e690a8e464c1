"""What a `headrace run` that was killed leaves is sent by the next one, whole and once."""

import os
import subprocess
import sys

from headrace.connectors.commands.environment import agent_environment
from headrace.connectors.commands.folder import Ended
from headrace.connectors.commands.session import send_left_behind
from tests.connectors.instrument.watched import Workplace

AGENT = """
from opentelemetry import trace
trace.get_tracer("agent").start_span("done").end()
trace.get_tracer("agent").start_span("open")
"""


def test_a_killed_run_is_sent_with_an_end_that_says_so(workplace: Workplace) -> None:
    folder = workplace.folder()
    made = agent_environment(os.environ, folder, None)
    subprocess.run([sys.executable, "-c", AGENT], env=made, check=True)
    telemetry = workplace.telemetry()
    attempts = workplace.directory / "attempts"
    assert send_left_behind(attempts, telemetry, 5) == 0, "whoever made it lives"
    folder.leave()
    assert send_left_behind(attempts, telemetry, 5) == 1
    assert telemetry.spans[0].kind == "attempt.start"
    assert {span.name for span in telemetry.spans} >= {"done", "open", "runner_stopped"}
    end = telemetry.spans[-1]
    assert (end.kind, end.status, end.span_id) == ("attempt.end", "error", folder.identity.end_id)
    assert send_left_behind(attempts, telemetry, 5) == 0
    assert list(attempts.iterdir()) == []
    telemetry.close()


def test_an_end_that_was_written_down_is_told_as_it_was(workplace: Workplace) -> None:
    folder = workplace.folder()
    folder.end(Ended(status="ok", result='"five"', at=1))
    folder.leave()
    telemetry = workplace.telemetry()
    assert send_left_behind(workplace.directory / "attempts", telemetry, 5) == 1
    end = telemetry.spans[-1]
    assert (end.kind, end.status, end.output) == ("attempt.end", "ok", '"five"')
    assert "runner_stopped" not in {span.name for span in telemetry.spans}
    telemetry.close()
