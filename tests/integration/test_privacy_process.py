"""With redaction on, a planted secret is in no topic, no table, no spool and no log."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from headrace.connectors.clickhouse import ClickHouse, ClickHouseConfig, migrate
from headrace.connectors.kafka import (
    KafkaAccess,
    KafkaConfig,
    Outgoing,
    Registry,
    Tailer,
    Writer,
)
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.privacy.escapes import levels
from headrace.connectors.sdk import SdkConfig, Telemetry
from headrace.connectors.settings import to_environment
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.schemas import Codec, PolicyRecord, PolicyVersion, new_ulid, to_avro
from headrace.schemas.topics import Topic
from tests.support.environment import environment_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

DATABASE = "headrace_privacy_test"
POLICY = "privacy-test"
STAGES = ("assemble", "credit", "sink")
TIMEOUT = 120.0
REDACTING = PrivacySettings(redact=("all",), patterns=(r"staff=EMP-\d{3,9}",))
# Unlike anything that another test of this run may write.
SECRETS = (f"alice.{new_ulid().lower()}@example.com", "4539 1488 0343 6467", "EMP-7321546")
SAID = "I am {}, card {}, badge {}.".format(*SECRETS)


class Parts:
    """The parts of a headrace, as processes on the run's servers."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.directory = directory
        self.ports = {"gateway": free_port(), "otlp": free_port()}
        model = tiny_llama(directory / "model", seed=0)
        publish(stack, model)
        gateway = ["headrace.connectors.gateway", "--model-directory", str(model)]
        commands = {"gateway": gateway, "otlp": ["headrace.connectors.otlp"]}
        commands |= {stage: ["headrace.streams", stage] for stage in STAGES}
        self.running = {name: self._start(name, words) for name, words in commands.items()}

    def _start(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        environment = environment_of(
            self.stack,
            **to_environment("privacy", REDACTING),
            HEADRACE_CLICKHOUSE_DATABASE=DATABASE,
            HEADRACE_GROUP=f"privacy-test.{name}",
            HEADRACE_RUN_DIRECTORY=self.directory,
            HEADRACE_DATA_DIRECTORY=self.directory / "data",
            HEADRACE_SPOOL_DIRECTORY=self.directory / "spool" / name,
            HEADRACE_STREAMS_POISON_LIMIT=0,  # other tests write bad records on purpose
            HEADRACE_STREAMS_UNKNOWN_SCHEMA_S=1,
            HEADRACE_GATEWAY_PORT=self.ports["gateway"],
            HEADRACE_OTLP_PORT=self.ports["otlp"],
            HEADRACE_POLICY_NAME=POLICY,
            OMP_NUM_THREADS=1,
        )
        with (self.directory / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *words], env=environment, stdout=log, stderr=log
            )

    def log(self) -> str:
        return "\n".join(p.read_text()[-2_000:] for p in sorted(self.directory.glob("*.log")))

    def wait(self, condition: Any, what: str) -> None:
        def holds() -> bool:
            ended = [name for name, one in self.running.items() if one.poll() is not None]
            assert not set(ended) & {"gateway", "otlp"}, self.log()
            return bool(condition())

        wait_until(holds, lambda: f"{what}; {self.log()}", TIMEOUT)

    def answers(self, name: str) -> bool:
        with contextlib.suppress(OSError):
            url = f"http://127.0.0.1:{self.ports[name]}/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status) == 200
        return False

    def close(self) -> None:
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(60)


def publish(stack: Stack, model: Path) -> None:
    """Version 0 of the policy."""
    access = KafkaAccess(bootstrap=stack.bootstrap)
    registry = Registry(stack.registry_url)
    record = PolicyRecord(version=PolicyVersion(policy=POLICY, version=0, uri=str(model)))
    value = Codec(registry).encode(Topic.POLICIES, to_avro(record))
    writer = Writer(access.client("privacy-test"))
    key = f"{POLICY}/version/0"
    writer.send([Outgoing(topic=Topic.POLICIES, key=key, partition=0, value=value)])
    writer.close()
    registry.close()


@pytest.fixture(scope="module")
def clickhouse(stack: Stack) -> Iterator[ClickHouse]:
    client = ClickHouse(ClickHouseConfig(url=stack.clickhouse_url, database=DATABASE))
    migrate.apply(client)
    yield client
    client.close()


@pytest.fixture(scope="module")
def parts(
    stack: Stack, clickhouse: ClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Parts]:
    started = Parts(stack, tmp_path_factory.mktemp("privacy"))
    try:
        started.wait(lambda: started.answers("gateway"), "the gateway")
        started.wait(lambda: started.answers("otlp"), "the receiver")
        yield started
    finally:
        started.close()


def live(parts: Parts, rollout: str) -> None:
    """One attempt in which everything that can carry text carries the secrets."""
    spool = parts.directory / "spool" / "agent"
    telemetry = Telemetry(
        SdkConfig(
            bootstrap=parts.stack.bootstrap,
            registry_url=parts.stack.registry_url,
            spool_directory=spool,
            privacy=REDACTING,
        )
    )
    attempt = telemetry.attempt(rollout, task_input={"ask": SAID}, expected=SAID, subject=SAID)
    attempt.start()
    ask_the_gateway(attempt.base_url(f"http://127.0.0.1:{parts.ports['gateway']}"))
    with attempt.tool("mail", {"to": SAID, "nested": json.dumps({"to": SAID})}) as result:
        result.output = [SAID]
    attempt.exception(ValueError(SAID))
    attempt.event("said", {"what": SAID})
    attempt.reward("reward", 1.0, source=SAID)
    send_by_otlp(parts, rollout, attempt.attempt)
    attempt.end({"answer": SAID})
    telemetry.close()


def ask_the_gateway(base_url: str) -> None:
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=60) as client:
        asked: list[Any] = [
            {"role": "system", "content": SAID},
            {"role": "user", "content": json.dumps({"said": SAID})},
        ]
        tool: Any = {"type": "function", "function": {"name": "mail", "description": SAID}}
        first = client.chat.completions.create(
            model=POLICY, messages=asked, tools=[tool], max_tokens=8, user=SAID
        )
        assert (first.model_extra or {})["headrace"]["trainable"]
        said: Any = {"role": "assistant", "content": first.choices[0].message.content}
        stream = client.chat.completions.create(
            model=POLICY,
            messages=[*asked, said, {"role": "user", "content": SAID}],
            max_tokens=8,
            stream=True,
        )
        assert list(stream)
        client.completions.create(model=POLICY, prompt=SAID, max_tokens=8)
        client.responses.create(model=POLICY, input=SAID, max_output_tokens=16)


def send_by_otlp(parts: Parts, rollout: str, attempt: str) -> None:
    resource = Resource({"headrace.rollout_id": rollout, "headrace.attempt": attempt})
    provider = TracerProvider(resource=resource)
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{parts.ports['otlp']}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    told = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps([{"content": SAID}]),
        "gen_ai.response.id": SAID,
        "note": SAID,
    }
    with provider.get_tracer("test").start_as_current_span(SAID, attributes=told) as span:
        span.add_event("said", {"what": SAID})
    provider.shutdown()


def found_in(data: bytes) -> list[str]:
    texts = (data, *levels(data))
    return [secret for secret in SECRETS if any(secret.encode() in text for text in texts)]


def test_a_planted_secret_is_nowhere(parts: Parts, clickhouse: ClickHouse) -> None:
    rollout = new_ulid()
    live(parts, rollout)

    def stored(table: str, condition: str) -> bool:
        sql = f"SELECT count() AS n FROM {table} FINAL WHERE {condition}"
        return bool(clickhouse.query(sql, {"r": rollout})[0]["n"])

    closed = "rollout_id = {r:String} AND state = 'closed'"
    parts.wait(lambda: stored("episodes", closed), "the episode")
    parts.wait(lambda: stored("groups", "group_id = {r:String}"), "its credit")

    everything = clickhouse.query(
        "SELECT kind, input, output, trainable, length(prompt_ids) AS n FROM spans FINAL "
        "WHERE rollout_id = {r:String}",
        {"r": rollout},
    )
    texts = " ".join(f"{row['input']} {row['output']}" for row in everything)
    assert "I am [email], card [credit_card], badge [staff]." in texts
    calls = [row for row in everything if row["kind"] == "call" and row["n"]]
    assert len(calls) == 4
    assert all(row["trainable"] for row in calls)

    for topic in Topic:
        assert found_in(b"\n".join(values_of(parts.stack, topic))) == [], topic
    # Views with parameters have no columns before they are given: they hold nothing of their own.
    held = f"SELECT DISTINCT table FROM system.columns WHERE database = '{DATABASE}'"
    for row in clickhouse.query(held):
        lines = clickhouse.query(f"SELECT * FROM {DATABASE}.`{row['table']}`")
        assert found_in(repr(lines).encode()) == [], row
    for path in parts.directory.rglob("*"):
        if path.is_file() and "model" not in path.parts:
            assert found_in(path.read_bytes()) == [], path


def values_of(stack: Stack, topic: str) -> list[bytes]:
    """Every key and value of a topic."""
    tailer = Tailer(KafkaConfig(bootstrap=stack.bootstrap), [topic], name="privacy-test")
    found: list[bytes] = []

    def read_on() -> bool:
        for message in tailer.read(0.2):
            found.extend(part for part in (message.key, message.value) if part)
        return tailer.caught_up

    try:
        wait_until(read_on, f"the end of {topic}")
    finally:
        tailer.close()
    return found
