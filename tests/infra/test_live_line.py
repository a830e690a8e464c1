"""The line that tells how far something is, on a terminal and elsewhere."""

import io
import sys

import pytest
from rich.console import Console

from headrace.infra.supervise import State
from headrace.infra.terminal.live import PLAIN_S, LiveLine
from headrace.infra.terminal.report import PartLines


def test_without_a_terminal_changes_are_told_every_ten_seconds() -> None:
    now = 0.0
    out = io.StringIO()
    line = LiveLine(Console(file=out, width=20), clock=lambda: now)
    with line:
        for at, text in (
            (1.0, "too early"),
            (PLAIN_S, "a [long] line that is not broken"),
            (2 * PLAIN_S, "a [long] line that is not broken"),
            (2 * PLAIN_S + 1, "changed"),
            (2 * PLAIN_S + 2, "too early"),
        ):
            now = at
            line.update(text)
    assert out.getvalue().splitlines() == ["a [long] line that is not broken", "changed"]


def test_on_a_terminal_what_goes_to_a_pipe_stays_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = io.StringIO()
    with LiveLine(Console(file=terminal, force_terminal=True)) as line:
        line.update("[moving]")
        sys.stdout.write('{"version": 1}\n')
    assert capsys.readouterr().out == '{"version": 1}\n'
    assert "[moving]" in terminal.getvalue()
    assert "version" not in terminal.getvalue()


def test_parts_that_are_waited_for_are_named_with_what_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headrace.infra.terminal.live.PLAIN_S", 0.0)
    out = io.StringIO()
    with PartLines(Console(file=out), {"kafka": "here:1"}) as lines:
        lines("kafka", State.STARTING, "no answer yet (6 s)")
        lines("sink", State.PREPARING, "preparing")
        lines("kafka", State.READY, "ready at here:1")
        lines("sink", State.FAILED, "ended with [/]")
    told = [line.strip() for line in out.getvalue().splitlines()]
    assert told == [
        "waiting for kafka: no answer yet (6 s)",
        "waiting for kafka: no answer yet (6 s), sink: preparing",
        "kafka      ready    here:1",
        "waiting for sink: preparing",
        "sink       failed   ended with [/]",
    ]
