"""`headrace traffic` on the real broker: what is said of a policy's versions stands on the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Writer
from headrace.infra.cli import traffic as verb
from headrace.infra.cli.app import WRONG_USE, app
from headrace.schemas import Codec, PolicyRecord, PolicyVersion, to_avro
from tests.support.environment import environment_of

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

POLICY = "traffic-verb"
TOPIC = "headrace.policies"


@pytest.fixture
def traffic(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in environment_of(stack, HEADRACE_POLICY_NAME=POLICY).items():
        monkeypatch.setenv(name, value)
    assert verb.__doc__
    return lambda *words: CliRunner().invoke(app, ["traffic", *words])


def publish(stack: Stack, *versions: int) -> None:
    registry, writer = Registry(stack.registry_url), Writer(KafkaConfig(bootstrap=stack.bootstrap))
    codec = Codec(registry)
    for version in versions:
        record = PolicyRecord(version=PolicyVersion(policy=POLICY, version=version))
        value = codec.encode(TOPIC, to_avro(record))
        key = f"{POLICY}/version/{version}"
        writer.send([Outgoing(topic=TOPIC, key=key, value=value, partition=0)])
    writer.close()
    registry.close()


def test_what_is_said_of_a_policy_s_traffic_stands(
    stack: Stack, traffic: Callable[..., Result]
) -> None:
    assert "no version is, yet" in traffic().output
    publish(stack, 0, 1, 2)
    assert traffic().output == (
        f"{POLICY}: the newest version is served (versions 0 to 2 are published)\n"
    )

    said = traffic("--version", "1", "--share", "2=0.1", "--why", "2 is new", "--json")
    assert json.loads(said.output) == {
        "policy": POLICY,
        "version": 1,
        "shares": [{"version": 2, "share": 0.1}],
        "said_by": "user",
        "why": "2 is new",
        "judged": -1,
        "versions": [0, 1, 2],
    }
    assert traffic().output == (
        f"{POLICY}: version 1 is served (versions 0 to 2 are published)\n"
        "  10.0% of the rollouts get version 2\n"
        "  said by user: 2 is new\n"
    )

    assert traffic("--newest").exit_code == 0
    assert "get version" not in traffic().output


def test_a_record_that_cannot_be_read_stops_nobody(
    stack: Stack, traffic: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    writer = Writer(KafkaConfig(bootstrap=stack.bootstrap))
    writer.send([Outgoing(topic=TOPIC, key=POLICY, value=b"no record", partition=0)])
    writer.close()
    said = traffic()
    assert said.exit_code == 0, said.exception
    assert POLICY in said.output
    assert f"of {TOPIC} is passed over: no Confluent header" in caplog.text


@pytest.mark.parametrize(
    ("words", "trouble"),
    [
        (("--version", "7"), f"{POLICY}@7 was not published"),
        (("--share", "7=0.1"), f"{POLICY}@7 was not published"),
        (("--share", "ten"), "give VERSION=SHARE"),
        (("--share", "1=2"), "above 0 and up to 1"),
        (("--share", "0=0.6", "--share", "1=0.6"), "1.2 together"),
        (("--version", "1", "--newest"), "give one"),
        (("other",), f"there are {POLICY}"),
    ],
)
def test_what_cannot_be_is_refused(
    traffic: Callable[..., Result], words: tuple[str, ...], trouble: str
) -> None:
    result = traffic(*words)
    assert result.exit_code == WRONG_USE
    assert trouble in result.stderr
