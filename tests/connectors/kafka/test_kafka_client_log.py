"""What librdkafka says reaches people once for each state, in our words."""

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException

from headrace.connectors.kafka import in_words
from headrace.connectors.kafka.client_log import STATE_S, ClientLog, client_log
from headrace.connectors.kafka.failures import failure_in

REFUSED = (
    "[thrd:127.0.0.1:9/bootstrap]: 127.0.0.1:9/bootstrap: Connect to ipv4#127.0.0.1:9 failed: "
    "Connection refused (after 0ms in state CONNECT)"
)
FORM = "%s [%s] %s"


def test_a_state_is_told_once_and_again_when_it_comes_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    log = ClientLog("k:1", clock=lambda: now)
    with caplog.at_level(logging.INFO):
        for second in range(300):
            now = second / 2
            log.log(logging.ERROR, FORM, "FAIL", f"client-{second % 3}", REFUSED)
        now += STATE_S + 1
        log.log(logging.ERROR, FORM, "FAIL", "client-1", REFUSED)
        log.log(logging.ERROR, FORM, "FAIL", "client-1", "x: Failed to resolve 'k:1'")
    told = "Kafka at k:1: it refuses connections; trying on until it answers"
    other = "Kafka at k:1: its name cannot be resolved; trying on until it answers"
    assert [record.getMessage() for record in caplog.records] == [told, told, other]


def test_the_end_of_a_connection_is_not_told_in_the_place_of_its_refusal() -> None:
    now = 0.0
    log = ClientLog("k:1", clock=lambda: now)
    assert log.failure() is None
    log.log(logging.ERROR, FORM, "FAIL", "c", "x: SASL authentication error: Authentication failed")
    log.log(logging.ERROR, FORM, "FAIL", "c", "x: Disconnected: SSL connection closed by peer")
    assert log.failure() == failure_in("SASL authentication error")
    now = STATE_S / 2  # the password was mended, and the broker is restarted
    log.log(logging.ERROR, FORM, "FAIL", "c", "x: Disconnected: SSL connection closed by peer")
    assert log.failure() == failure_in("Disconnected")
    now += STATE_S + 1
    assert log.failure() is None, "too long ago to be why"


def test_ways_to_enter_one_cluster_are_told_apart_and_their_secrets_not_kept() -> None:
    ways = [{"sasl.password": "hush"}, {"sasl.password": "hush-hush"}]
    logs = [client_log("told-apart:1", way) for way in (*ways, *ways)]
    assert logs[0] is logs[2]
    assert logs[0] is not logs[1]
    assert "hush" not in repr(client_log.__globals__["_logs"])


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("x: TLS alert: SSL alert number 116: certificate required", "our certificate"),
        ("x: SSL handshake failed: error:0A00010B:SSL routines::wrong version", "TLS with it"),
        ("x: Broker: Unsupported SASL mechanism: broker's supported mechanisms: PLAIN (after 5ms",
         "by PLAIN only"),
        ("x: something new", "a broker does not answer"),
    ],
)  # fmt: skip
def test_what_a_line_says_is_told_without_the_rest_of_it(line: str, told: str) -> None:
    assert told in failure_in(line).words


def test_its_own_lines_are_there_for_whoever_debugs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ClientLog("k:1").log(logging.ERROR, FORM, "FAIL", "client-1", REFUSED)
    assert REFUSED in caplog.text


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KafkaError(KafkaError._TRANSPORT, "x:9/1: Connect to ipv4#…"), "no broker answers"),
        (KafkaError(KafkaError._MSG_TIMED_OUT), "no broker took it in time"),
        (KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), "Message size too large"),
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)), "no broker answers"),
    ],
)
def test_errors_are_in_words(error: KafkaError | KafkaException, words: str) -> None:
    assert in_words(error) == words


def test_nothing_raw_reaches_the_standard_error_of_an_agent() -> None:
    with socket.socket() as taken:  # bound and not listening: whoever connects is refused
        taken.bind(("127.0.0.1", 0))
        bootstrap = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("kafka_away.py"), bootstrap],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
    said = done.stdout + done.stderr
    for raw in ("%3|", "FAIL", "KafkaError{", "[thrd:", "ipv4#", "_TRANSPORT", "Local:"):
        assert raw not in said
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines)) <= 4, "once for each state"
    assert "it refuses connections" in done.stderr
