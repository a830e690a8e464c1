"""A part that is started with settings that cannot be says so in one line and ends with code 2."""

import os
import subprocess
import sys

import pytest

SERVERS = {
    "HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "HEADRACE_REGISTRY_URL": "http://127.0.0.1:1",
    "HEADRACE_CLICKHOUSE_URL": "http://127.0.0.1:1",
    "HEADRACE_POLICY_NAME": "assistant",
}
STREAMS = "headrace.streams"


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        ([STREAMS, "assemble"], "HEADRACE_ASSEMBLE_IDLE_MS", "soon"),
        ([STREAMS, "assemble"], "HEADRACE_KAFKA_SSL_CA_LOCATION", "/nowhere/ca.pem"),
        ([STREAMS, "assemble"], "HEADRACE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ([STREAMS, "credit"], "HEADRACE_CREDIT_RULE", "nope:nope"),
        ([STREAMS, "credit"], "HEADRACE_CREDIT_BASELINE", "gprs"),
        ([STREAMS, "sink"], "HEADRACE_CLICKHOUSE_DATABASE", "default"),
        (["headrace.trainer", "--model-directory", "m"], "HEADRACE_TRAINER_LEARNING_RATE", "nan"),
        (["headrace.connectors.gateway", "--model-directory", "m"], "HEADRACE_GATEWAY_PORT", "0"),
    ],
)
def test_a_part_names_the_setting_and_ends_with_code_2(
    command: list[str], name: str, value: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env={**os.environ, **SERVERS, name: value},
        capture_output=True,
        text=True,
        timeout=120,
    )
    section, _, key = name.removeprefix("HEADRACE_").lower().partition("_")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    named = "sasl_username" if key == "security_protocol" else key
    assert f"[{section}] {named}" in done.stderr
