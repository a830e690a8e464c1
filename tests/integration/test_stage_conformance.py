"""What every stage promises, on real parts: its rows are the log's, whatever happens to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from headrace.connectors.worker.exits import EXIT_RESUMED
from headrace.schemas import frame, new_ulid
from tests.integration.stages.bench import StageBench
from tests.integration.stages.subjects import SUBJECTS
from tests.support.door import Door
from tests.support.shared_log import without_letters
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

UNKNOWN_ID = 0x7FFFFFFF
MANY = 60


@pytest.fixture(params=SUBJECTS, ids=lambda subject: subject.name)
def bench(request: pytest.FixtureRequest, stack: Stack, tmp_path: Path) -> Iterator[StageBench]:
    made = StageBench(stack, tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def door(stack: Stack) -> Iterator[Door]:
    """The way to the registry, closed at first."""
    made = Door.to(stack.registry_url)
    yield made
    made.close()


def test_rows_are_those_of_the_log_through_absence_kills_and_a_replay(
    bench: StageBench, door: Door
) -> None:
    bench.send(range(30))
    bench.start(HEADRACE_REGISTRY_URL=door.url)
    wait_until(lambda: "registry" in bench.beat().get("waiting", ""), "a wait for the registry")
    assert bench.count() == 0
    door.open()
    wait_until(lambda: bench.count() > 0, "the first rows")
    bench.send(range(30, 60))
    mark = new_ulid().encode()
    whole = bench.subject.make(bench.codec, mark.decode(), 0).value
    assert whole is not None
    malformed = [b"\x01" + mark, whole[:-2]]
    unknown = [frame(UNKNOWN_ID, mark + b"%d" % number) for number in range(MANY)]
    bench.poison(malformed[0], *unknown, malformed[1])
    bench.send(range(60, 90))
    wait_until(lambda: bench.count() > 60, "rows behind the poison")
    bench.kill()
    bench.send(range(90, 120))
    bench.start()
    # A second for the unknown id in each life of the worker, not one for each record.
    bench.await_rows(120, seconds=MANY - 5)
    bench.await_committed()
    rows = bench.subject.content(bench.clickhouse, bench.project)
    reasons = Counter(reason for _, reason in bench.letters({*malformed, *unknown}))
    assert reasons == {"malformed": 2, "unknown_schema": MANY}

    bench.replay()
    bench.start()
    bench.await_rows(120)
    assert bench.subject.content(bench.clickhouse, bench.project).equals(rows)


def test_poison_is_counted_through_a_kill_and_halts_until_a_person_resumes(
    bench: StageBench,
) -> None:
    mark = new_ulid().encode()
    bench.partition = without_letters(
        bench.kafka, bench.subject.topic, bench.subject.name
    )  # else those count, too
    bench.poison(b"\x01a" + mark, b"\x01b" + mark)  # as many as are put up with
    bench.send(range(16))
    bench.start(HEADRACE_STREAMS_POISON_LIMIT=2)
    bench.await_rows(16)
    bench.await_committed()
    assert bench.beat()["halted"] == []
    bench.kill()

    bench.poison(b"\x01c" + mark)
    bench.start()
    halt = bench.await_halt()
    assert (halt["topic"], halt["partition"], halt["reason"]) == (*bench.where, "poison")
    bench.kill()

    bench.send(range(16, 48))
    bench.start()
    assert bench.await_halt() == halt, "halted by another life, and still so"
    wait_until(lambda: bench.count() > 16, "rows of the other partitions")
    bench.resume()
    assert bench.exit_code() == EXIT_RESUMED
    bench.poison(b"\x01d" + mark, b"\x01e" + mark)  # what was refused before is forgiven
    bench.start()
    bench.await_rows(48)
    bench.await_committed()
    assert bench.beat()["halted"] == []
