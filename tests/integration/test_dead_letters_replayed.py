"""`headrace dlq` on the real broker: what was set aside is listed, shown and sent again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from headrace.connectors.kafka import (
    DeadLetter,
    DeadLetters,
    KafkaConfig,
    Offsets,
    Tailer,
)
from headrace.infra.cli.app import NO, WRONG_USE, app
from headrace.infra.cli.dlq import dlq_app  # registers the verb
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

EPISODES, POLICIES = "headrace.episodes", "headrace.policies"
VALUE = b"no episode of ours"  # no schema's, or other tests' workers would wait for it
OFFSETS = range(900_000_001, 900_000_004)
"""Of records that never were: nobody else's test has a letter of them."""


def letter(offset: int, topic: str = EPISODES) -> DeadLetter:
    return DeadLetter(
        topic=topic, partition=0, offset=offset, value=VALUE + bytes([offset % 256]),
        reason="malformed", message="there is no\nheader", stage="credit", log_time=5,
    )  # fmt: skip


@pytest.fixture
def config(stack: Stack) -> KafkaConfig:
    return KafkaConfig(bootstrap=stack.bootstrap)


@pytest.fixture
def letters(config: KafkaConfig) -> Iterator[None]:
    writer = DeadLetters(config)
    # One twice, as after a restart: it is one letter.
    writer.send([*map(letter, OFFSETS), letter(OFFSETS[0]), letter(OFFSETS[0], POLICIES)])
    yield
    writer.close()


@pytest.fixture
def dlq(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("HEADRACE_KAFKA_BOOTSTRAP", stack.bootstrap)
    assert dlq_app.info.help
    return lambda *words: CliRunner().invoke(app, ["dlq", *words])


def test_what_was_set_aside_is_listed_shown_and_sent_again(
    config: KafkaConfig, letters: None, dlq: Callable[..., Result]
) -> None:
    places = [f"{EPISODES}/0/{offset}" for offset in OFFSETS]
    listed = dlq("list", "--topic", EPISODES)
    lines = [line for line in listed.output.splitlines() if line.startswith(tuple(places))]
    size = len(VALUE) + 1
    assert lines == [
        f"{place}: malformed (credit, {size} bytes): there is no header" for place in places
    ]

    shown = dlq("show", places[0])
    assert shown.exit_code == 0
    assert "schema_id    -1" in shown.output
    assert "0000  6e 6f 20 65 70 69 73 6f 64 65 20 6f 66 20 6f 75  no episode of ou" in shown.output

    before = Offsets(config).ends([(EPISODES, 0)])
    sent = dlq("replay", places[0], places[1])
    assert sent.output.splitlines() == [f"{place} was sent again" for place in places[:2]]
    tailer = Tailer(config, [EPISODES], name="test.dlq", starts=before)
    came: list[bytes | None] = []

    def both_came() -> bool:
        came.extend(record.value for record in tailer.read() if record.partition == 0)
        return len(came) >= 2

    wait_until(both_came, "the records")
    tailer.close()
    assert came == [letter(offset).value for offset in OFFSETS[:2]]

    told = [
        json.loads(line)
        for line in dlq("list", "--topic", EPISODES, "--json").output.split("\n")
        if line
    ]
    assert {one["place"]: one["replayed"] for one in told if one["place"] in places} == {
        places[0]: True, places[1]: True, places[2]: False
    }  # fmt: skip
    rest = dlq("replay", "--all", "--topic", EPISODES).output.splitlines()
    assert f"{places[2]} was sent again" in rest
    assert f"{places[0]} was sent again" not in rest
    assert dlq("replay", "--all", "--topic", EPISODES).output == "nothing to send again\n"


def test_what_cannot_be_is_said(letters: None, dlq: Callable[..., Result]) -> None:
    assert dlq("show", f"{EPISODES}/0/17").exit_code == NO
    assert dlq("show", "nonsense").exit_code == WRONG_USE
    assert dlq("list", "--topic", "headrace.nothing").exit_code == WRONG_USE
    assert dlq("replay").exit_code == WRONG_USE
    # The trainer alone writes versions, in its own order.
    refused = dlq("replay", f"{POLICIES}/0/{OFFSETS[0]}")
    assert refused.exit_code == WRONG_USE
