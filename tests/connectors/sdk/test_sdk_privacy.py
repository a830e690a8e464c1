"""What `[privacy]` leaves out is in no record and in no spool, and is counted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.connectors.privacy import Hidden, PrivacySettings
from headrace.connectors.sdk import SdkConfig, Telemetry
from tests.connectors.sdk.memory import WAIT_S, Broker, span

SECRET = b"alice@example.com"
REDACTING = PrivacySettings(redact=("all",))


def used(telemetry: Telemetry) -> None:
    """What an agent may say, with a secret in each of it."""
    secret = SECRET.decode()
    attempt = telemetry.attempt("r1", task_input={"to": secret}, expected=secret, subject=secret)
    attempt.start(WAIT_S)
    with attempt.tool("mail", {"to": secret}) as result:
        result.output = [secret]
    with pytest.raises(ValueError, match="no user"), attempt.tool("mail", secret):
        raise ValueError(f"no user {secret}")
    attempt.event("said", {"what": {"deep": secret}})
    attempt.exception(ValueError(secret))
    attempt.reward("polite", 1.0, source=f"judge of {secret}", target=f"call of {secret}")
    attempt.end({"to": secret}, timeout=WAIT_S)


def test_no_record_holds_a_secret(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(privacy=REDACTING)
    used(telemetry)
    assert telemetry.flush(WAIT_S)
    assert [value for _, value in broker.records if SECRET in value] == []
    stats = telemetry.stats()
    assert (stats.redacted, stats.emitted) == (7, 7)


def test_no_spool_holds_a_secret(
    broker: Broker, start: Callable[..., Telemetry], tmp_path: Path
) -> None:
    telemetry = start(spool_directory=tmp_path)
    telemetry.emit_durably(span(output=SECRET.decode()), WAIT_S)  # tells how many partitions
    telemetry.close()
    broker.up.clear()
    telemetry = start(spool_directory=tmp_path, privacy=REDACTING)
    used(telemetry)
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"[email]" in data for data in files)
    assert [data for data in files if SECRET in data] == []


def test_projects_of_one_producer_keep_their_own(
    broker: Broker, start: Callable[..., Telemetry]
) -> None:
    telemetry = start(privacy=PrivacySettings(projects=("hr=metadata", "tests=none")))
    telemetry.emit(span("n1", output="open"))
    telemetry.emit(span("n2", output="closed", project="hr"))
    telemetry.emit(span("n3", output="nothing", project="tests"))
    assert telemetry.flush(WAIT_S)
    assert sorted(broker.names()) == ["n1", "n2"]
    records = b"".join(value for _, value in broker.records)
    assert (b"open" in records, b"closed" in records, b"nothing" in records) == (True, False, False)
    assert telemetry.stats().suppressed == 1


def test_the_type_of_an_error_is_a_fact(broker: Broker, start: Callable[..., Telemetry]) -> None:
    telemetry = start(privacy=PrivacySettings(capture="metadata"))
    attempt = telemetry.attempt("r1")
    with pytest.raises(KeyError), attempt.tool("mail", {"to": "x"}):
        raise KeyError("whoever")
    attempt.exception(ValueError("whatever"))
    assert telemetry.flush(WAIT_S)
    contents = [batch["content"] for batch in broker.batches()]
    assert b"".join(content["attributes"] for content in contents) == (
        b'{"error.type":"KeyError"}{"exception.type":"ValueError"}'
    )
    assert b"".join(content["input"] + content["output"] for content in contents) == b""


def test_the_switches_of_this_process_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OPENINFERENCE_HIDE_INPUTS" not in os.environ
    monkeypatch.setenv("OPENINFERENCE_HIDE_INPUTS", "true")
    config = SdkConfig(bootstrap="b", registry_url="r")
    assert config.hidden == {Hidden.INPUTS}
