"""`headrace up` on servers that ask for credentials over TLS, and each verb with it.

One run, looked at from many sides: an agent's calls are credited and trained, and no secret is
written anywhere.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace.connectors.clickhouse import ClickHouse
from headrace.infra.cli.app import NOT_RUNNING, main
from headrace.infra.embedded.models import tiny_llama
from headrace.infra.embedded.ports import free_port
from headrace.infra.settings import Settings, load
from headrace.infra.supervise import State, read_status
from tests.support.secured import CLICKHOUSE_USER, SECRETS, Secured
from tests.support.waiting import wait_until

HEADRACE = (sys.executable, "-P", "-m", "headrace.infra.cli")
GROUP = 2
SECONDS = 300.0
pytestmark = pytest.mark.timeout(2 * SECONDS)
AGENT = """
from openai import OpenAI

def run(task_input, *, base_url, api_key):
    with OpenAI(base_url=base_url, api_key=api_key) as client:
        said = client.chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": task_input}], max_tokens=4
        )
    return said.choices[0].message.content
"""
RULES = """
from headrace.streams.reward import reward

@reward(version=1)
def by_attempt(episode):
    return float(sum(map(ord, episode.attempt)) % 97)
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Loop:
    """A headrace that has trained a version on servers that are not its own."""

    settings: Settings
    environment: dict[str, str]
    directory: Path
    clickhouse: ClickHouse
    up: subprocess.Popen[bytes]
    said: Path
    """What `headrace up` and `headrace work` wrote."""

    def one(self, sql: str) -> Any:
        (row,) = self.clickhouse.query(sql)
        (value,) = row.values()
        return value


def environment_of(secured: Secured, directory: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(directory),
        "COLUMNS": "200",
        "PYTHONPATH": str(directory),
        **secured.environment,
        "HEADRACE_DATA_DIRECTORY": str(directory / "data"),
        "HEADRACE_POLICY_MODEL": str(tiny_llama(directory / "model")),
        "HEADRACE_CREDIT_RULE": "secured_rules:by_attempt",
        "HEADRACE_CREDIT_GRACE_MS": "1000",
        "HEADRACE_GATEWAY_PORT": str(free_port()),
        "HEADRACE_GATEWAY_THREADS": "1",
        "HEADRACE_OTLP_PORT": str(free_port()),
        "HEADRACE_CONSOLE_PORT": str(free_port()),
        "HEADRACE_RUNNER_PROCESSES": "1",
        "HEADRACE_RUNNER_CONCURRENCY": "4",
        "HEADRACE_TRAINER_GROUP_SIZE": str(GROUP),
        "HEADRACE_TRAINER_GROUPS_PER_STEP": "1",
        "HEADRACE_TRAINER_MAX_VERSIONS": "1",
        "HEADRACE_TRAINER_THREADS": "1",
    }


@pytest.fixture(scope="module")
def loop(secured: Secured, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    directory = tmp_path_factory.mktemp("secured-loop")
    (directory / "secured_agent.py").write_text(AGENT)
    (directory / "secured_rules.py").write_text(RULES)
    (directory / "tasks.jsonl").write_text(json.dumps({"input": "Say something."}) + "\n")
    environment = environment_of(secured, directory)
    settings = load(environment=environment)
    said = directory / "said.log"
    clickhouse = ClickHouse(settings.clickhouse_config)

    with said.open("ab") as log:

        def start(*words: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                [*HEADRACE, *words],
                cwd=directory, env=environment, stdout=log, stderr=log,
            )  # fmt: skip

        started = [start("up")]
        try:
            wait_until(
                lambda: is_up(settings, started[0]), lambda: said.read_text()[-4000:], SECONDS
            )
            started += [
                start("tasks", "tasks.jsonl"),
                start("work", "--agent", "secured_agent:run"),
            ]
            loop = Loop(
                settings=settings, environment=environment, directory=directory,
                clickhouse=clickhouse, up=started[0], said=said,
            )  # fmt: skip
            wait_until(
                lambda: loop.one("SELECT count() FROM policies FINAL WHERE version = 1") == 1,
                lambda: f"a version; {said.read_text()[-4000:]}",
                SECONDS,
            )
            yield loop
        finally:
            for process in reversed(started):
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in reversed(started):
                process.wait(60)
            clickhouse.close()


def is_up(settings: Settings, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "headrace up has ended"
    status = read_status(settings.directory)
    parts = status.parts if status is not None and status.running else ()
    return bool(parts) and all(part.state is State.READY for part in parts)


@dataclass(kw_only=True, slots=True, frozen=True)
class Result:
    code: int
    out: str
    err: str


Headrace = Callable[..., Result]


@pytest.fixture
def headrace(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Headrace:
    """`headrace(*words, **changes)` types a command beside the running one."""

    def run(*words: str, **changes: str) -> Result:
        for name, value in {**loop.environment, **changes}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(loop.directory)
        monkeypatch.setattr(sys, "argv", ["headrace", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        written = capfd.readouterr()
        code = left.value.code
        assert isinstance(code, int)
        assert not [secret for secret in SECRETS if secret in written.out + written.err]
        return Result(code=code, out=written.out, err=written.err)

    return run


def test_what_agents_did_was_credited_and_trained(loop: Loop) -> None:
    trained = "SELECT count() FROM outcomes FINAL WHERE outcome = 'trained'"
    assert loop.one(trained) == GROUP
    assert loop.one("SELECT count() FROM episodes FINAL WHERE status = 'ok'") >= GROUP
    assert loop.one("SELECT uniqExact(rollout_id) FROM calls") >= GROUP
    assert loop.one("SELECT count() FROM tasks FINAL") >= GROUP
    assert loop.one("SELECT count() FROM dead_letters") == 0


def test_what_an_exporter_of_opentelemetry_sends_comes_in(loop: Loop) -> None:
    span = {
        "traceId": "5" * 32, "spanId": "7" * 16, "name": "work",
        "startTimeUnixNano": "1", "endTimeUnixNano": "2",
    }  # fmt: skip
    resource = {"attributes": [{"key": "headrace.rollout_id", "value": {"stringValue": "otlp"}}]}
    sent = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    request = urllib.request.Request(
        f"{loop.settings.otlp_url}/v1/traces",
        json.dumps(sent).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200  # when Kafka has it
    wait_until(
        lambda: loop.one("SELECT count() FROM spans WHERE rollout_id = 'otlp'") == 1, "its row"
    )


def test_every_verb_enters(headrace: Headrace, loop: Loop, tmp_path: Path) -> None:
    episode = loop.one(
        "SELECT concat(rollout_id, '/', attempt) FROM episodes FINAL WHERE state = 'closed' LIMIT 1"
    )
    verbs: dict[tuple[str, ...], str] = {
        ("status",): "gateway",
        ("tasks", "status"): "assistant",
        ("traffic",): "1",
        ("audit",): "",
        ("dlq", "list"): "",
        ("resume",): "",
        ("sql", "SELECT count() AS n FROM episodes"): "n",
        ("credit", "explain", episode): "by_attempt",
        ("export", "transitions", "--parquet", str(tmp_path / "t.parquet")): "",
        ("replay", "--baseline", "rloo"): "",
        ("feedback", episode, "--name", "thumbs", "--value", "1"): "",
        ("tasks", "cancel", episode.partition("/")[0]): "",
    }
    for words, wanted in verbs.items():
        result = headrace(*words)
        assert (words, result.code) == (words, 0), result
        assert wanted in result.out, words


def test_what_headrace_run_saw_of_an_agent_comes_in(loop: Loop) -> None:
    agent = (sys.executable, "-c", "print('done')")
    said: list[str] = []

    def sent() -> bool:
        """Run it; on a busy machine Kafka may have its spans by the next run only."""
        done = subprocess.run(
            [*HEADRACE, "run", "--rollout", "run", "--no-gateway", "--", *agent],
            cwd=loop.directory, env=loop.environment, capture_output=True, text=True,
            timeout=120, check=True,
        )  # fmt: skip
        assert done.stdout == "done\n"
        said.append(done.stderr)
        return "spool" not in done.stderr

    wait_until(sent, lambda: f"its spans being delivered; {said}")
    wait_until(
        lambda: loop.one("SELECT count() FROM episodes FINAL WHERE rollout_id = 'run'") > 0,
        lambda: f"its episode; {said}",
    )
    assert not [secret for secret in SECRETS if secret in "".join(said)]


def test_doctor_asks_each_server_and_says_which_does_not_let_us_in(headrace: Headrace) -> None:
    def told(**changes: str) -> dict[str, tuple[bool, str]]:
        checks = json.loads(headrace("doctor", "--json", **changes).out)["checks"]
        return {each["check"]: (each["ok"], each["found"]) for each in checks}

    well = told()
    for server in ("kafka", "registry", "clickhouse"):
        ok, found = well[server]
        assert ok, found
        assert "lets us in" in found
    refused = told(**dict.fromkeys(PASSWORDS, "guessed"))
    for server, why in NOT_LET_IN.items():
        ok, found = refused[server]
        assert not ok
        assert why in found


PASSWORDS = tuple(
    f"HEADRACE_{server}_PASSWORD" for server in ("KAFKA_SASL", "REGISTRY", "CLICKHOUSE")
)
NOT_LET_IN = {
    "kafka": "it does not accept our credentials; check [kafka] sasl_username, sasl_password",
    "registry": "does not let user schemas in: check [registry] user and password",
    "clickhouse": f"does not let user {CLICKHOUSE_USER} in: check [clickhouse] user and password",
}


@pytest.mark.parametrize(
    ("words", "server"),
    [
        (("up",), "kafka"),
        (("up",), "registry"),
        (("up",), "clickhouse"),
        (("tasks", "tasks.jsonl"), "kafka"),
        (("tasks", "tasks.jsonl"), "registry"),
        (("tasks", "status"), "clickhouse"),
        (("traffic",), "kafka"),
        (("audit",), "clickhouse"),
        (("audit",), "kafka"),
        (("dlq", "list"), "kafka"),
        (("resume",), "kafka"),
        (("replay",), "kafka"),
        (("sql", "SELECT 1"), "clickhouse"),
        (("feedback", "a/b", "--name", "x", "--value", "1"), "clickhouse"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_a_verb_that_is_not_let_in_says_where_and_what_to_look_at(
    headrace: Headrace, tmp_path: Path, words: tuple[str, ...], server: str
) -> None:
    variable = {name.split("_")[1].lower(): name for name in PASSWORDS}[server]
    apart = {
        "HEADRACE_DATA_DIRECTORY": str(tmp_path),
        "HEADRACE_GATEWAY_PORT": str(free_port()),
        "HEADRACE_OTLP_PORT": str(free_port()),
        "HEADRACE_CONSOLE_PORT": str(free_port()),
    }  # of another headrace than the one that runs
    result = headrace(*words, **{variable: "guessed"}, **apart)
    assert result.code == NOT_RUNNING
    assert NOT_LET_IN[server] in result.err.replace("\n", " ")
    assert "Traceback" not in result.err
    assert "guessed" not in result.out + result.err


@pytest.mark.parametrize("stage", ["assemble", "credit"])
def test_a_worker_that_is_not_let_in_any_more_waits_and_says_why(
    loop: Loop, stage: str, tmp_path: Path
) -> None:
    environment = {
        **loop.environment,
        "HEADRACE_RUN_DIRECTORY": str(tmp_path),
        "HEADRACE_KAFKA_SASL_PASSWORD": "of last week",
    }
    said = tmp_path / "said.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "headrace.streams", stage],
            cwd=loop.directory, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        told = f"{stage}-0: waits: no answer from"
        wait_until(lambda: told in said.read_text(), said.read_text)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(60)
    assert NOT_LET_IN["kafka"] in said.read_text()
    assert "Traceback" not in said.read_text()
    assert "of last week" not in said.read_text()


def test_no_secret_is_written_anywhere(loop: Loop) -> None:
    files = [file for file in loop.directory.rglob("*") if file.is_file()]
    told = [
        (file, secret)
        for file in files
        if file.stat().st_size < 50_000_000
        for secret in SECRETS
        if secret.encode() in file.read_bytes()
    ]
    assert told == []
    assert [file for file in files if file.parent.name == "logs"]


def test_tables_are_made_again_where_headrace_was_stopped(headrace: Headrace, loop: Loop) -> None:
    loop.up.send_signal(signal.SIGINT)
    assert loop.up.wait(90) == 0, loop.said.read_text()[-4000:]
    result = headrace("rebuild", "--yes", "--json")
    assert result.code == 0, result
    assert json.loads(result.out)["equal"] is True
