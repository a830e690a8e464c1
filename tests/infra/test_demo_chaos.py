"""Chaos kills what is ready, each part in turn, and nothing else."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from headrace.infra.audit.difference import Audit, Kind
from headrace.infra.audit.told import lines
from headrace.infra.demo.chaos import VICTIMS, Chaos, summary
from headrace.infra.supervise import State
from tests.support.supervised import Lab
from tests.support.waiting import wait_until


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    if made.supervisor is not None:
        made.supervisor.stop()


def test_each_part_is_killed_in_turn_comes_back_and_the_gateway_is_spared(lab: Lab) -> None:
    parts = [lab.part(name) for name in ("kafka", "trainer", "gateway")]
    lab.supervise(*parts).start()
    gateway = lab.pid("gateway")
    said = io.StringIO()
    with Chaos(lab.directory, Console(file=said), seed=1, pause_s=(0.01, 0.02)) as chaos:
        wait_until(lambda: chaos.killed.total() >= 4, "two rounds of kills")
    assert set(chaos.killed) == {"kafka", "trainer"}
    assert abs(chaos.killed["kafka"] - chaos.killed["trainer"]) <= 1
    assert lab.pid("gateway") == gateway
    os.kill(gateway, 0)  # it runs
    lab.events.wait_for(lambda event: event[1] is State.CRASHED, count=4)
    assert said.getvalue().splitlines().count("killed kafka") == chaos.killed["kafka"]
    assert "gateway" not in VICTIMS


def test_it_ends_at_once_where_nothing_runs(tmp_path: Path) -> None:
    with Chaos(tmp_path, Console(file=io.StringIO()), pause_s=(0.01, 0.02)) as chaos:
        pass
    assert not chaos.killed


def test_the_kills_are_summed_up() -> None:
    told = summary(Counter(trainer=2, kafka=1))
    assert told == "3 parts were killed while it learnt: kafka 1, trainer 2"


def test_an_audit_s_last_line_is_its_verdict() -> None:
    found = Audit()
    found.count("spans", in_log=1200, lost=0)
    assert list(lines(found)) == [
        "spans      1,200 in log, 0 lost",
        "clean: nothing lost, nothing doubled",
    ]
    found.add(Kind.LOST, "headrace.spans/3/17", "stands in the log alone")
    told = list(lines(found))
    assert told[1] == "lost: headrace.spans/3/17: stands in the log alone"
    assert told[-1] == "differences: 1 lost"
