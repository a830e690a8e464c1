"""Pages that renew themselves: what a watcher tells them."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

from headrace.connectors.clickhouse import ClickHouseUnavailable
from headrace.infra.console.live import Watcher

STREAMS = 20


class Tables:
    """Answers of a ClickHouse, one a question; None: it is away."""

    def __init__(self, *answers: dict[str, int] | None) -> None:
        self._answers = list(answers)

    def query(self, *_: object) -> list[dict[str, object]]:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise ClickHouseUnavailable("no answer: Connection refused")
        return [{"table": table, "newest": block} for table, block in answer.items()]


async def told(tables: Tables, events: int) -> list[str]:
    watcher = Watcher(tables, every_s=0.001)  # type: ignore[arg-type]  # stands in for a ClickHouse
    stream: AsyncIterator[str] = watcher.follow()
    found = [await anext(stream) for _ in range(events + 1)]
    await stream.aclose()  # type: ignore[attr-defined]  # a generator
    assert watcher.streams == 0
    return found[1:]


def test_a_page_is_told_which_tables_grew() -> None:
    tables = Tables({"spans": 1, "episodes": 4}, {"spans": 2, "episodes": 4})
    assert asyncio.run(told(tables, 1)) == ['event: changed\ndata: ["spans"]\n\n']


def test_it_is_told_once_that_clickhouse_is_away_and_to_look_again_when_it_is_back() -> None:
    tables = Tables({"spans": 1}, None, None, None, {"spans": 1})
    away, back = asyncio.run(told(tables, 2))
    assert away == 'event: away\ndata: "no answer: Connection refused"\n\n'
    assert back == "event: changed\ndata: []\n\n"


def test_streams_end_when_the_process_is_to_stop() -> None:
    async def run() -> list[str]:
        watcher = Watcher(Tables({"spans": 1}), every_s=0.001)  # type: ignore[arg-type]  # as above
        stream = watcher.follow()
        first = await anext(stream)
        watcher.end()
        return [first, *[event async for event in stream]]

    assert asyncio.run(run()) == ["retry: 1000\n\n"]


def test_nobody_looks_and_nothing_is_asked() -> None:
    async def run() -> None:
        tables = Tables({"spans": 1}, {"spans": 2})
        watcher = Watcher(tables, every_s=0.001)  # type: ignore[arg-type]  # as above
        streams = [watcher.follow() for _ in range(3)]
        for _ in range(2):  # that it is open, and that a table grew
            for stream in streams:
                await anext(stream)
        for stream in streams:
            await stream.aclose()  # type: ignore[attr-defined]  # a generator
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:  # the watcher, which was told to end
            _, going_on = await asyncio.wait(others, timeout=60)
            assert not going_on
        assert watcher.streams == 0

    asyncio.run(run())


def test_it_ends_when_told_to_though_pages_look() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "headrace.infra.cli", "console", "--port", str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        looking: list[socket.socket] = []
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            for _ in range(STREAMS):
                looking.append(socket.create_connection(("127.0.0.1", port)))
                looking[-1].sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert b"text/event-stream" in looking[-1].recv(2_000)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0
            assert "Cancel" not in said  # the streams were ended, and not broken off
            assert "Traceback" not in said
        finally:
            process.kill()
            for one in looking:
                one.close()
