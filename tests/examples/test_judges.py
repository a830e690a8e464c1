"""The judges: what they ask, what they make of the answers, and that a verdict counts once."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
from openai import OpenAI

from examples.judges import judge
from examples.judges.judge import Verdict, asking, grades, replies, reply_in, reward_id
from headrace.connectors.sdk import Telemetry
from headrace.schemas import Episode, EpisodeCall, EpisodeReward
from headrace.schemas.topics import Topic
from headrace.streams.reward import evaluate, load_rule
from tests.support.model_server import ModelServer, model_server

USER = {"role": "user", "content": "What is 12 plus 7?"}
SAID = {"role": "assistant", "content": "20"}
ANNOYED = {"role": "user", "content": "No. Again, please."}


def call(span: str, *messages: dict[str, str], agent: str = "solver") -> EpisodeCall:
    return EpisodeCall(span_id=span, agent=agent, input=json.dumps(messages), output="20")


EPISODE = Episode(
    rollout_id="r",
    attempt="a",
    task_input="What is 12 plus 7?",
    result="19",
    calls=[
        call("one", USER),
        call("other", USER, SAID, ANNOYED, agent="helper"),
        call("two", USER, SAID, ANNOYED),
    ],
)


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server("") as server:
        yield server


def test_a_judge_grades_the_episode_and_reads_the_reply_to_each_call(
    model: ModelServer,
) -> None:
    model.says = ["0.75", "-1"]
    ask = asking(OpenAI(base_url=f"{model.url}/v1", api_key="k"), "grader")
    assert [*grades(EPISODE, ask), *replies(EPISODE, ask)] == [
        Verdict(name="judge", value=0.75),
        Verdict(name="reply", value=-1.0, target="one"),
    ]
    graded, read = (body for _, body in model.seen)
    assert graded["model"] == "grader"
    assert graded["messages"][1]["content"] == "Task:\nWhat is 12 plus 7?\n\nResult:\n19"
    assert read["messages"][1]["content"] == "Assistant:\n20\n\nUser:\nNo. Again, please."


@pytest.mark.parametrize("said", ["good", "", "7", "nan", "0.5 or so"])
def test_what_is_no_number_in_range_is_no_reward(model: ModelServer, said: str) -> None:
    model.says = [said]
    assert list(grades(EPISODE, asking(OpenAI(base_url=f"{model.url}/v1", api_key="k"), "m"))) == []


def test_what_is_judged_is_not_asked_again() -> None:
    rewards = [
        EpisodeReward(name="judge", value=0.5),
        EpisodeReward(name="reply", value=1.0, target="one"),
    ]
    judged = Episode(rollout_id="r", attempt="a", calls=EPISODE.calls, rewards=rewards)

    def ask(instructions: str, text: str) -> float | None:
        pytest.fail("it was asked again")

    assert [*grades(judged, ask), *replies(judged, ask)] == []


@pytest.mark.parametrize(
    ("messages", "reply"),
    [
        ([USER], ""),
        ([USER, SAID], ""),
        ([USER, SAID, ANNOYED], ANNOYED["content"]),
        ([USER, SAID, ANNOYED, SAID], ""),  # a tool's answer, not a user's
        ([USER, SAID, {"role": "tool", "content": "19"}], ""),
        ("no messages", ""),
    ],
)
def test_a_reply_is_what_the_user_said_after_the_assistant(messages: Any, reply: str) -> None:
    assert reply_in(json.dumps(messages)) == reply


def test_texts_that_are_no_messages_have_no_reply() -> None:
    assert reply_in("texts were dropped") == ""


def test_a_verdict_has_one_id_and_is_the_reward_of_the_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    telemetry = cast(Telemetry, None)  # what is sent is kept here
    sent: list[tuple[str, float, str, str]] = []

    def send(*given: Any, target: str, span_id: str, **_: Any) -> None:
        sent.append((given[3], given[4], target, span_id))

    monkeypatch.setattr(judge, "send_reward", send)
    values = {judge.GRADER: 1.0, judge.READER: -1.0}
    for _ in range(2):
        assert judge.judge(EPISODE, lambda how, _: values[how], telemetry) == 2
    assert sent[:2] == sent[2:]
    assert len({span_id for *_, span_id in sent}) == 2
    assert sent[0][3] == reward_id(EPISODE, Verdict(name="judge", value=0.3))
    rewards = [EpisodeReward(name=n, value=v, target=t) for n, v, t, _ in sent[:2]]
    judged = Episode(rollout_id="r", attempt="a", calls=EPISODE.calls, rewards=rewards)
    result = evaluate(load_rule("examples.judges.rewards"), judged)
    assert result.value == 1.0
    assert result.calls == (-0.2, None, None)
    assert evaluate(load_rule("examples.judges.rewards"), EPISODE).pending


def test_a_record_that_cannot_be_read_is_told_and_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from headrace.connectors.kafka import LogRecord, Registry
    from headrace.schemas import Codec

    codec = Codec(Registry("mock://judges"))
    record = LogRecord(topic=Topic.EPISODES, partition=3, offset=7, log_time=0, value=b"poison")
    with caplog.at_level(logging.WARNING):
        assert judge.episodes_of(codec, record) == []
    assert "headrace.episodes/3/7 cannot be read" in caplog.text
