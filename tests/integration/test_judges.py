"""The judges' process on the real log: an episode gets its reward, and again under the same id."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from examples.judges.judge import Verdict, reward_id
from headrace.connectors.kafka import KafkaConfig, Outgoing, Registry, Tailer, Writer, partitions_of
from headrace.schemas import Codec, Episode, EpisodeBatch, new_ulid, partition_of, to_avro
from headrace.schemas.span_reader import read_span_batch
from tests.support.environment import environment_of
from tests.support.model_server import model_server
from tests.support.shared_log import readable
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from headrace.infra.embedded import Stack

ROOT = Path(__file__).parents[2]
EPISODES, SPANS = "headrace.episodes", "headrace.spans"


@pytest.fixture
def judge_url() -> Iterator[str]:
    """Of a model that finds everything good."""
    with model_server("1") as server:
        yield f"{server.url}/v1"


def rewards_of(stack: Stack, codec: Codec, episode: Episode) -> int:
    """How many spans of the log are the judge's reward of an episode."""
    wanted = reward_id(episode, Verdict(name="judge", value=1.0)).encode()
    found = 0
    tailer = Tailer(KafkaConfig(bootstrap=stack.bootstrap), [SPANS], name="test-judges")
    try:
        while not tailer.caught_up:
            for message in tailer.read(0.5):
                record = readable(codec, SPANS, message.value)
                if record is not None:
                    found += int((read_span_batch(record).spans["span_id"] == wanted).sum())
    finally:
        tailer.close()
    return found


def test_an_episode_gets_its_reward_whoever_judges_it(
    stack: Stack, judge_url: str, tmp_path: Path
) -> None:
    kafka = KafkaConfig(bootstrap=stack.bootstrap)
    registry = Registry(stack.registry_url)
    codec = Codec(registry)
    group = new_ulid()
    episode = Episode(
        project="judges", rollout_id=new_ulid(), attempt="a", group_id=group, status="ok",
        task_input="Say hello.", result="hello", version=5,
    )  # fmt: skip
    writer = Writer(kafka)
    value = codec.encode(EPISODES, to_avro(EpisodeBatch(episodes=[episode])))
    partition = partition_of(group, partitions_of(kafka, EPISODES))
    writer.send([Outgoing(topic=EPISODES, partition=partition, value=value)])
    writer.close()
    for times in (1, 2):  # the second knows nothing of the first
        with (tmp_path / "judge.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "examples.judges.judge", "--base-url", judge_url,
                    "--model", "m", "--group", f"judges-{times}-{group}",
                ],
                cwd=ROOT, env=environment_of(stack, PYTHONPATH=ROOT), stdout=log, stderr=log,
            )  # fmt: skip
        try:
            wait_until(
                lambda times=times: rewards_of(stack, codec, episode) >= times,  # type: ignore[misc]
                f"the judge ({tmp_path}/judge.log)",
            )
        finally:
            process.terminate()
            assert process.wait(30) == 0
    registry.close()
