"""The receiver as a process, on a real broker and registry."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from headrace.connectors.kafka import KafkaConfig, Registry, Tailer
from headrace.connectors.worker.heartbeat import read_heartbeat
from headrace.infra.embedded.ports import free_port
from headrace.schemas import Codec, new_ulid, read_span_batch
from tests.support.environment import environment_of
from tests.support.shared_log import readable
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

SPANS = 500


def spans_of(stack: Stack, rollout_id: str) -> set[str]:
    """The spans of a rollout on the topic."""
    registry = Registry(stack.registry_url)
    codec = Codec(registry)
    tailer = Tailer(KafkaConfig(bootstrap=stack.bootstrap), ["headrace.spans"], name="otlp-test")
    found: set[str] = set()

    def read_on() -> bool:
        for message in tailer.read(0.2):
            record = readable(codec, "headrace.spans", message.value)
            if record is not None:
                batch = read_span_batch(record)
                ids = batch.spans["span_id"].tolist()
                rollouts = [batch.episodes[i]["rollout_id"] for i in batch.episode.tolist()]
                found.update(
                    one.decode() for one, at in zip(ids, rollouts, strict=True) if at == rollout_id
                )
        return tailer.caught_up

    try:
        wait_until(read_on, "the end of the spans")
    finally:
        tailer.close()
        registry.close()
    return found


def test_what_an_exporter_was_told_is_taken_is_in_the_log(stack: Stack, tmp_path: Path) -> None:
    port, rollout_id = free_port(), new_ulid()
    environment = environment_of(
        stack,
        HEADRACE_OTLP_PORT=port,
        HEADRACE_SPOOL_DIRECTORY=tmp_path / "spool",
        HEADRACE_RUN_DIRECTORY=tmp_path,
    )
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace.connectors.otlp"],
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _answers(url) or _has_ended(process, log), "the receiver")
        resource = Resource({"headrace.rollout_id": rollout_id, "headrace.attempt": "a1"})
        provider = TracerProvider(resource=resource)
        exporter = OTLPSpanExporter(f"{url}/v1/traces")
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2 * SPANS))
        tracer = provider.get_tracer("test")
        made = [tracer.start_span("work") for _ in range(SPANS)]
        for span in made:
            span.end()
        provider.shutdown()
        counters = "counters"
        wait_until(
            lambda: read_heartbeat(tmp_path / "otlp.json")[counters].get("spans") == SPANS,
            "what the receiver says of itself",
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert spans_of(stack, rollout_id) == {f"{s.get_span_context().span_id:016x}" for s in made}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(json.load(answer)["status"] == "ok")
    except OSError:
        return False


def _has_ended(process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    return False
