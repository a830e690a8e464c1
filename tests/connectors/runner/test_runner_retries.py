"""What is tried again, when, and how often."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.kafka import KafkaAccess, RegistryAccess
from headrace.connectors.privacy import PrivacySettings
from headrace.connectors.runner import RunnerConfig
from headrace.connectors.runner.attempts import TaskRunner
from headrace.connectors.runner.jobs import AgentStuck, Done, Failure, Job, WorkerDied
from headrace.connectors.runner.retries import How, Retry, is_retried, pause_s
from headrace.connectors.runner.waiting import Taken, Waiting
from headrace.connectors.sdk import SdkConfig
from headrace.connectors.settings import BadSettings
from headrace.schemas import Task, new_ulid
from tests.connectors.instrument.watched import Listening
from tests.connectors.sdk.memory import Broker

WORDS = list(Retry)
ROLLOUTS = st.text("ABC123", min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("how", "first"), [("died", "infrastructure"), ("deadline", "timeouts"), ("failed", "failures")]
)
def test_each_word_tries_again_what_the_one_before_does_and_more(how: str, first: str) -> None:
    tried = [is_retried(How(how), word) for word in WORDS]
    assert tried == [WORDS.index(word) >= WORDS.index(Retry(first)) for word in WORDS]


@pytest.mark.parametrize("how", ["ok", "stopped"])
def test_what_ended_well_or_with_its_runner_is_not_tried_again_by_it(how: str) -> None:
    assert not any(is_retried(How(how), word) for word in WORDS)


@given(ROLLOUTS, st.integers(1, 2_000), st.floats(0, 100), st.floats(0, 1_000))
def test_a_pause_is_at_least_half_of_its_step_and_never_more_than_the_longest(
    rollout: str, number: int, first: float, longest: float
) -> None:
    step = min(longest, first * 2.0 ** min(number - 1, 60))
    pause = pause_s(rollout, number, first, longest)
    assert step / 2 <= pause <= step <= longest
    assert pause == pause_s(rollout, number, first, longest), "wherever it is asked"


def test_rollouts_that_failed_together_wait_differently() -> None:
    pauses = [pause_s(f"r{n}", 1, 8.0, 60.0) for n in range(1_000)]
    assert len({round(pause, 6) for pause in pauses}) > 990
    assert 5.9 < sum(pauses) / len(pauses) < 6.1, "spread evenly over 4 to 8 s"


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 3)), max_size=12), st.floats(0, 100))
def test_what_is_due_comes_once_longest_due_first(
    entries: list[tuple[float, int]], now: float
) -> None:
    waiting = Waiting()
    for offset, (due, partition) in enumerate(entries):
        waiting.add(Taken(task=Task(), partition=partition, offset=offset), due)
    waiting.lost([3])
    expected = sorted(due for due, partition in entries if due <= now and partition != 3)
    got = list(iter(lambda: waiting.due(now), None))
    assert [entries[one.offset][0] for one in got if one is not None] == expected
    assert len(waiting) == sum(partition != 3 for _, partition in entries) - len(expected)


class Scripted:
    """Workers whose jobs end as a script says."""

    def __init__(self, *ends: str) -> None:
        self._ends = iter(ends)

    def new_key(self) -> int:
        return 0

    def run(self, job: Job, timeout: float) -> Done:
        match next(self._ends):
            case "ok":
                return Done(key=job.key, output="1")
            case "failed":
                return Done(key=job.key, failure=Failure(name="E", message="no", trace=""))
            case "failed: a@b.org":
                failure = Failure(name="E", message="no a@b.org", trace="")
                return Done(key=job.key, failure=failure)
            case "deadline":
                raise AgentStuck("not done")
            case _:
                raise WorkerDied("its process ended with 9")

    def cancel(self, key: int) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def listening() -> Iterator[Listening]:
    config = SdkConfig(bootstrap="memory", registry_url="memory", close_timeout_s=0.05)
    telemetry = Listening(config, Broker())
    yield telemetry
    telemetry.close()


def attempts(listening: Listening, task: Task, *ends: str, **settings: object) -> list[list[str]]:
    """The names of the events of each attempt at a task, and the status at its end."""
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap="b"),
        registry=RegistryAccess(url="http://r"),
        gateway_url="http://g",
        agent="m:f",
        **settings,  # type: ignore[arg-type]  # any keys
    )
    runner = TaskRunner(config, listening, Scripted(*ends), threading.Event())
    runner.cancellations.known.set()
    number = 1
    while runner.run(task, number).again_s is not None:
        number += 1
    told: dict[str, list[str]] = {}
    for span in listening.spans:
        told.setdefault(span.attempt, [])
        if span.kind in ("event", "attempt.end"):
            told[span.attempt].append(span.name if span.kind == "event" else str(span.status))
    return list(told.values())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (PrivacySettings(redact=("email",)), "rollout r1: failed: E: no [email]"),
        (PrivacySettings(capture="metadata"), "rollout r1: failed: E\n"),
    ],
)
def test_what_an_agent_raised_is_logged_as_far_as_it_may_be_kept(
    settings: PrivacySettings, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = SdkConfig(
        bootstrap="memory", registry_url="memory", close_timeout_s=0.05, privacy=settings
    )
    telemetry = Listening(config, Broker())
    try:
        attempts(telemetry, Task(rollout_id="r1"), "failed: a@b.org")
    finally:
        telemetry.close()
    assert told in caplog.text
    assert "a@b.org" not in caplog.text


def test_a_worker_that_died_is_tried_again_and_only_the_last_attempt_stands(
    listening: Listening,
) -> None:
    task = Task(rollout_id=new_ulid())
    assert attempts(listening, task, "died", "ok") == [
        ["worker_died", "retried", "error"],
        ["ok"],
    ]


def test_attempts_end_at_their_number_and_the_last_says_what_ended_it(
    listening: Listening,
) -> None:
    task = Task(rollout_id=new_ulid())
    settings = {"retry": "failures", "max_attempts": 3}
    assert attempts(listening, task, "failed", "deadline", "failed", **settings) == [
        ["retried", "error"],
        ["deadline", "retried", "error"],
        ["error"],
    ]


def test_by_default_an_agents_own_end_is_its_result(listening: Listening) -> None:
    assert attempts(listening, Task(rollout_id=new_ulid()), "failed") == [["error"]]


def test_the_start_of_an_attempt_says_who_makes_it_and_which_try_it_is(
    listening: Listening,
) -> None:
    attempts(listening, Task(rollout_id=new_ulid()), "died", "ok", name="host/0")
    starts = [json.loads(s.attributes) for s in listening.spans if s.kind == "attempt.start"]
    assert starts == [
        {"headrace.runner": "host/0", "headrace.attempt_number": number} for number in (1, 2)
    ]


def test_what_became_of_an_attempt_says_whose_it_was_and_why_it_failed(
    listening: Listening, caplog: pytest.LogCaptureFixture
) -> None:
    config = RunnerConfig(
        kafka=KafkaAccess(bootstrap="b"),
        registry=RegistryAccess(url="http://r"),
        gateway_url="http://g",
        agent="m:f",
        retry="failures",
    )
    runner = TaskRunner(config, listening, Scripted("failed"), threading.Event())
    runner.cancellations.known.set()
    task = Task(rollout_id=new_ulid())
    ended = runner.run(task)
    assert (ended.how, ended.rollout_id, ended.agent) == (How.FAILED, task.rollout_id, "m:f")
    assert (ended.why, ended.attempt) == ("E: no", listening.spans[0].attempt)
    assert ended.again_s is not None
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith(f"agent m:f, rollout {task.rollout_id}: failed: E: no; tried again in")


def test_nothing_is_tried_again_that_could_not_begin_before_its_deadline(
    listening: Listening,
) -> None:
    task = Task(rollout_id=new_ulid(), deadline=int((time.time() + 60) * 1000))
    settings = {"retry_first_s": 200.0, "retry_longest_s": 200.0}
    assert attempts(listening, task, "died", **settings) == [["worker_died", "error"]]


def test_an_unknown_word_is_refused_with_those_there_are() -> None:
    with pytest.raises(BadSettings, match="retry is 'always': give never or infrastructure or"):
        RunnerConfig(
            kafka=KafkaAccess(bootstrap="b"),
            registry=RegistryAccess(url="http://r"),
            gateway_url="http://g",
            retry="always",
        )
