"""What telemetry does not send: too much, refused, illegal or unwanted spans."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.sdk import Closed, NotDurable, SdkConfig, Telemetry
from headrace.schemas import Call, InvalidId
from tests.connectors.sdk.memory import WAIT_S, Broker, span


def test_memory_is_bounded_and_what_does_not_fit_is_counted(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    broker.up.clear()
    telemetry = start(memory_bytes=10_000)
    for i in range(100):
        telemetry.emit(span(f"n{i}", output="x" * 1_000))
    stats = telemetry.stats()
    assert stats.held_bytes <= 10_000
    assert 0 < stats.emitted < 100
    assert stats.emitted + stats.dropped == 100
    with pytest.raises(NotDurable, match="memory_bytes"):
        telemetry.emit_durably(span(output="x" * 5_000))
    broker.up.set()
    assert telemetry.flush(WAIT_S)
    telemetry.emit(span("n100"))
    assert telemetry.flush(WAIT_S)
    numbers = [e["episode_batch"] for batch in broker.batches() for e in batch["episodes"]]
    assert max(numbers) > len(numbers) - 1  # the dropped spans show as a hole


def test_a_batch_that_kafka_refuses_for_good_is_counted_and_does_not_block(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    broker.refusals = [("too large", False)]
    telemetry = start()
    with pytest.raises(NotDurable, match="too large"):
        telemetry.emit_durably(span("n1"), WAIT_S)
    assert telemetry.emit_durably(span("n2"), WAIT_S) == "delivered"
    stats = telemetry.stats()
    assert (stats.undeliverable, stats.delivered, stats.pending) == (1, 1, 0)


def test_an_illegal_span_is_counted_and_never_raised_into_the_agent(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = start()
    telemetry.emit(span(rollout="not an id"))
    telemetry.emit(span(kind="nonsense"))
    telemetry.emit(None)  # type: ignore[arg-type]  # whatever an agent hands over
    assert telemetry.stats().rejected == 3
    with pytest.raises(InvalidId):
        telemetry.emit_durably(span(rollout="not an id"))
    telemetry.emit(span("n1"))
    assert telemetry.flush(WAIT_S)
    assert broker.names() == ["n1"]


def test_a_span_that_no_batch_can_hold_fails_its_waiter_alone(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start()
    words: Any = ["no", "tokens"]
    tokens = Call(prompt_ids=words, sampled_ids=words, logprobs=words)
    with pytest.raises(NotDurable, match="encoded"):
        telemetry.emit_durably(span("n1", kind="call", call=tokens), WAIT_S)
    assert telemetry.emit_durably(span("n2"), WAIT_S) == "delivered"
    assert telemetry.stats().unencodable == 1


def test_closing_delivers_and_then_takes_nothing(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    telemetry = start(seal_ms=60_000)
    telemetry.emit(span("n1"))
    telemetry.close(WAIT_S)
    telemetry.close()
    assert broker.names() == ["n1"]
    telemetry.emit(span("n2"))
    with pytest.raises(Closed):
        telemetry.emit_durably(span("n2"))


def test_capture_none_sends_nothing(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(privacy=PrivacySettings(capture="none"))
    telemetry.emit(span("n1"))
    assert telemetry.emit_durably(span("n2")) == "suppressed"
    assert telemetry.flush(WAIT_S)
    assert broker.records == []
    assert telemetry.stats().suppressed == 2


def test_capture_metadata_sends_no_content(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(privacy=PrivacySettings(capture="metadata"))
    telemetry.emit_durably(span("n1", output="secret"), WAIT_S)
    (batch,) = broker.batches()
    assert batch["content"] is None
    assert b"secret" not in broker.records[0][1]


@pytest.mark.parametrize(
    "settings",
    [{"seal_spans": 0}, {"text_bytes": 9_000_000}, {"seal_spans": 70_000}],
)
def test_a_bad_setting_is_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SdkConfig(bootstrap="b", registry_url="r", **settings)


def test_a_schema_that_the_registry_refuses_is_said_once_and_not_called_away(
    broker: Broker, start: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    broker.refused.set()
    with (
        caplog.at_level(logging.WARNING, logger="headrace.connectors.sdk"),
        pytest.raises(NotDurable, match="not compatible"),
    ):
        start().emit_durably(span("n1"), 0.5)
    (said,) = [record for record in caplog.records if "not compatible" in record.getMessage()]
    assert said.levelno == logging.ERROR
