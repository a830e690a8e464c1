"""The gateway as a process, on the real broker and registry, with a tiny random model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openai
import pytest
from confluent_kafka import Producer

from headrace.connectors.kafka import (
    KafkaConfig,
    Registry,
    Tailer,
    partitions_of,
    producer_settings,
)
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.schemas import (
    Codec,
    PolicyRecord,
    PolicyVersion,
    Traffic,
    UnknownSchemaId,
    new_ulid,
    partition_of,
    read_span_batch,
    to_avro,
)
from headrace.schemas.span_reader import Lists
from headrace.schemas.spans import Array
from tests.support.environment import environment_of
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

    from headrace.infra.embedded import Stack

POLICY, OTHER = "gateway-process", "gateway-process-other"
TIMEOUT = 90.0


class Gateway:
    """A running gateway process and what surrounds it."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.stack = stack
        self.codec = Codec(Registry(stack.registry_url))
        self.weights = [tiny_llama(directory / f"v{n}", seed=n) for n in range(2)]
        self.port = free_port()
        self.log = directory / "gateway.log"
        environment = environment_of(
            stack,
            HEADRACE_GATEWAY_PORT=self.port,
            HEADRACE_GATEWAY_THREADS=1,
            HEADRACE_POLICY_NAME=POLICY,
            HEADRACE_SPOOL_DIRECTORY=directory / "spool",
            OMP_NUM_THREADS=1,
        )
        command = [sys.executable, "-m", "headrace.connectors.gateway"]
        arguments = ["--model-directory", str(self.weights[0])]
        arguments += ["--policy", f"{OTHER}={self.weights[0]}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], env=environment, stdout=log, stderr=log
            )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, rollout_id: str, attempt: str) -> openai.OpenAI:
        base_url = f"{self.url}/rollout/{rollout_id}/attempt/{attempt}/v1"
        return openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=TIMEOUT)

    def chat(self, rollout_id: str, model: str = POLICY, **fields: Any) -> ChatCompletion:
        with self.client(rollout_id, "a-1") as client:
            completion: ChatCompletion = client.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": "What is 12 plus 7?"}],
                **{"max_tokens": 12, **fields},
            )
            return completion

    def health(self) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return 0, {}

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for it while the process lives."""

        def holds() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return condition()

        wait_until(holds, lambda: f"{what}; its log: {self.log.read_text()}", TIMEOUT)

    def wait_for_version(self, version: int) -> None:
        self.wait(lambda: self.health()[1]["version"] == version, f"version {version}")

    def publish(self, *records: PolicyRecord, commit: bool = True) -> None:
        producer = Producer(
            producer_settings(
                KafkaConfig(bootstrap=self.stack.bootstrap), transactional_id="gateway-test"
            )
        )
        producer.init_transactions(TIMEOUT)
        producer.begin_transaction()
        for record in records:
            version, traffic = record.version, record.traffic
            name = version.policy if version else traffic.policy if traffic else ""
            key = f"version/{version.version}" if version else "traffic"
            value = self.codec.encode("headrace.policies", to_avro(record))
            producer.produce("headrace.policies", key=f"{name}/{key}", value=value)
        producer.flush(TIMEOUT)
        if commit:
            producer.commit_transaction(TIMEOUT)
        else:
            producer.abort_transaction(TIMEOUT)

    def version(self, number: int, policy: str = POLICY, uri: str = "") -> PolicyRecord:
        uri = uri or str(self.weights[number])
        return PolicyRecord(version=PolicyVersion(policy=policy, version=number, uri=uri))

    def calls(self, *rollouts: str) -> list[dict[str, Any]]:
        """Every call of these rollouts on the topic, repetitions included."""
        config = KafkaConfig(bootstrap=self.stack.bootstrap)
        tailer = Tailer(config, ["headrace.spans"], name="gateway-test")
        found: list[dict[str, Any]] = []

        def read_on() -> bool:
            for message in tailer.read(0.2):
                found.extend(self._calls(message, rollouts))
            return tailer.caught_up

        try:
            wait_until(read_on, "the end of the spans", TIMEOUT)
        finally:
            tailer.close()
        return found

    def _calls(self, message: Any, rollouts: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        if message.value is None:
            return
        try:
            batch = read_span_batch(self.codec.decode("headrace.spans", message.value))
        except (ValueError, UnknownSchemaId):  # other tests write bad records
            return
        calls = batch.calls
        for i, row in enumerate([] if calls is None else calls["row"]):
            assert calls is not None
            episode = batch.episodes[batch.episode[row]]
            if episode["rollout_id"] in rollouts:
                yield {
                    "partition": message.partition,
                    "rollout_id": episode["rollout_id"],
                    "attempt": episode["attempt"],
                    "response_id": calls["response_id"][i],
                    "span_id": batch.spans["span_id"][row].decode(),
                    "sampled_ids": list_of(calls["sampled_ids"], i).tolist(),
                    "logprobs": list_of(calls["logprobs"], i),
                    "prompt": len(list_of(calls["prompt_ids"], i)),
                    "trainable": bool(calls["trainable"][i]),
                    "versions": list_of(calls["run_versions"], i).tolist(),
                    "lengths": list_of(calls["run_lengths"], i).tolist(),
                }


def list_of(lists: Lists, i: int) -> Array:
    found: Array = lists.values[lists.offsets[i] : lists.offsets[i + 1]]
    return found


@pytest.fixture(scope="module")
def gateway(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway process that serves version 0; it waited for it."""
    running = Gateway(stack, tmp_path_factory.mktemp("gateway"))
    try:
        running.wait(lambda: running.health()[0] == 503, "a gateway that serves nothing yet")
        # A version whose transaction was aborted was never published.
        running.publish(running.version(1), commit=False)
        running.wait(
            lambda: "version 0 of" in running.health()[1]["waiting_for"], "what it waits for"
        )
        running.publish(running.version(0), running.version(0, OTHER))
        running.wait(lambda: running.health()[0] == 200, "a gateway that serves")
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_the_engine_s_tokens_and_log_probabilities_land_on_the_topic(gateway: Gateway) -> None:
    rollout = new_ulid()
    completion = gateway.chat(
        rollout, logprobs=True, temperature=0.8, extra_body={"return_token_ids": True}
    )
    [call] = gateway.calls(rollout)  # on the topic when the answer is here, without waiting
    assert completion.id == call["response_id"] == f"chatcmpl-{call['span_id']}"
    assert call["attempt"] == "a-1"
    assert call["partition"] == partition_of(
        rollout, partitions_of(gateway.stack.bootstrap, "headrace.spans")
    )
    told = completion.choices[0].logprobs
    assert told is not None
    assert told.content is not None
    assert list(call["sampled_ids"]) == (completion.choices[0].model_extra or {})["token_ids"]
    np.testing.assert_array_equal(
        call["logprobs"], np.asarray([t.logprob for t in told.content], dtype=np.float32)
    )
    assert completion.usage is not None
    assert completion.usage.prompt_tokens == call["prompt"] > 0
    assert completion.usage.completion_tokens == len(call["sampled_ids"])
    assert call["trainable"]
    assert (call["versions"], call["lengths"]) == ([0], [len(call["sampled_ids"])])


def test_a_new_version_is_swapped_in_without_failing_a_request(gateway: Gateway) -> None:
    before = gateway.chat(new_ulid(), seed=5, logprobs=True)
    rollouts = [new_ulid() for _ in range(6)]
    with ThreadPoolExecutor(len(rollouts)) as pool:
        running = [
            pool.submit(gateway.chat, rollout, max_tokens=600, seed=n)
            for n, rollout in enumerate(rollouts)
        ]
        gateway.wait(lambda: gateway.metric("headrace_engine_running") > 0, "a running request")
        gateway.publish(gateway.version(1))
        gateway.wait_for_version(1)
        completions = [future.result() for future in running]
    calls = gateway.calls(*rollouts)
    assert {call["response_id"] for call in calls} == {c.id for c in completions}
    assert len(calls) == len(rollouts)
    for call in calls:
        assert call["trainable"]
        assert sum(call["lengths"]) == len(call["sampled_ids"])
        assert call["versions"] in ([0], [0, 1], [1])  # [1]: it came after the swap
    assert any(0 in call["versions"] for call in calls)
    after = gateway.chat(new_ulid(), seed=5, logprobs=True)
    pinned = gateway.chat(new_ulid(), f"{POLICY}@0", seed=5, logprobs=True)
    assert after.system_fingerprint == f"{POLICY}@1"
    assert pinned.system_fingerprint == f"{POLICY}@0"
    assert pinned.choices[0].message == before.choices[0].message
    assert pinned.choices[0].logprobs != after.choices[0].logprobs


def test_traffic_rolls_back_and_forth(gateway: Gateway) -> None:
    gateway.publish(gateway.version(1))
    for version in (0, 1):
        gateway.publish(PolicyRecord(traffic=Traffic(policy=POLICY, version=version)))
        gateway.wait_for_version(version)
        assert gateway.chat(new_ulid()).system_fingerprint == f"{POLICY}@{version}"
    gateway.publish(PolicyRecord(traffic=Traffic(policy=POLICY)))
    with gateway.client("r", "a") as client, pytest.raises(openai.NotFoundError, match="@2"):
        client.chat.completions.create(
            model=f"{POLICY}@2", messages=[{"role": "user", "content": "x"}]
        )


def test_two_policies_have_versions_of_their_own_and_broken_weights_of_one_stop_no_other(
    gateway: Gateway,
) -> None:
    gateway.publish(gateway.version(1, OTHER, uri="/nowhere"))
    failures = f'headrace_gateway_policy_load_failures_total{{policy="{OTHER}"}}'
    gateway.wait(lambda: gateway.metric(failures) >= 1, "a failed load")
    answered = {
        gateway.chat(new_ulid(), model, seed=3).system_fingerprint
        for model in (POLICY, OTHER, f"{OTHER}@0")
    }
    assert answered == {f"{POLICY}@{gateway.health()[1]['version']}", f"{OTHER}@0"}
    with gateway.client("r", "a") as client:
        listed = {model.id for model in client.models.list()}
    assert {POLICY, OTHER, f"{POLICY}@0", f"{OTHER}@0"} <= listed
    gateway.publish(gateway.version(1, OTHER))
    served = f'headrace_policy_version{{policy="{OTHER}"}}'
    gateway.wait(lambda: gateway.metric(served) == 1, "weights that can be loaded")


def test_with_the_broker_killed_answers_go_on_and_each_call_lands_once(gateway: Gateway) -> None:
    rollouts: list[str] = []
    spooled = 'headrace_gateway_durable_calls_total{where="spooled"}'
    with ThreadPoolExecutor(1) as pool:
        killing = pool.submit(gateway.stack.kill, "kafka")
        while not killing.done():
            rollouts.append(new_ulid())
            assert gateway.chat(rollouts[-1]).choices
        killing.result()
    assert gateway.metric(spooled) >= 1
    gateway.wait(lambda: len(gateway.calls(*rollouts)) >= len(rollouts), "a call of each")
    landed = [call["rollout_id"] for call in gateway.calls(*rollouts)]
    assert sorted(landed) == sorted(rollouts)
    rollout = new_ulid()
    gateway.chat(rollout)
    assert len(gateway.calls(rollout)) == 1


def test_sigterm_answers_what_is_in_flight_and_ends_in_order(gateway: Gateway) -> None:
    rollout = new_ulid()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(gateway.chat, rollout, max_tokens=300, seed=1)
        gateway.wait(
            lambda: gateway.metric("headrace_engine_running") > 0 or running.done(),
            "a running request",
        )
        gateway.process.send_signal(signal.SIGTERM)
        completion = running.result()
    assert gateway.process.wait(TIMEOUT) == 0, gateway.log.read_text()
    assert [call["response_id"] for call in gateway.calls(rollout)] == [completion.id]
