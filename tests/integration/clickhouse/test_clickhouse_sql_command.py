"""`headrace sql` on the real engine: what it prints, and what it says of an error."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from headrace.connectors.clickhouse import migrate
from headrace.infra.cli.app import INTERRUPTED, NO, WRONG_USE, main
from tests.integration.clickhouse.server_process import Server
from tests.integration.clickhouse.story import tell
from tests.support.waiting import wait_until

DATABASE = "asked"


@pytest.fixture(autouse=True, scope="module")
def _database(server: Server) -> None:
    client = server.client(database=DATABASE)
    migrate.apply(client)
    tell(client)
    client.close()


def sql(server: Server, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_URL", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("HEADRACE_CLICKHOUSE_DATABASE", DATABASE)
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "argv", ["headrace", "sql", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def strict(line: str) -> object:
    """As every other language reads it."""
    return json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_numbers_that_json_has_no_words_for_are_null(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    query = (
        "SELECT stddevSamp(number) AS deviation, [inf, 1.5] AS list, map('a', -inf) AS map, "
        "tuple(nan, 'x') AS pair, toDate('2026-01-02') AS day FROM numbers(1)"
    )
    assert sql(server, monkeypatch, "--json", query) == 0
    assert strict(capsys.readouterr().out) == {
        "deviation": None,
        "list": [None, 1.5],
        "map": {"a": None},
        "pair": [None, "x"],
        "day": "2026-01-02",
    }


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT nope FROM numbers(1)", "Unknown expression identifier `nope`"),
        ("SELEC 1", "Syntax error"),
        ("SELECT 1 SETTINGS foo = 1", "Unknown setting 'foo'"),
        ("SELECT throwIf(number = 0) FROM numbers(1)", "is non-zero"),
    ],
)
def test_an_error_is_told_once_in_clickhouse_s_words(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    query: str,
    said: str,
) -> None:
    assert sql(server, monkeypatch, query) == NO
    told = capsys.readouterr().err
    assert told.startswith("headrace: Code: ")
    assert said in told
    assert told.count("Code: ") == 1
    assert told.count(query) <= 1
    assert "for url" not in told


@pytest.mark.parametrize(
    "shell",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict"},
    ],
    ids=str,
)
@pytest.mark.parametrize("words", [["QUERY"], ["--json", "QUERY"], ["--json", "-"]], ids=" ".join)
def test_text_survives_every_locale(
    server: Server, shell: dict[str, str], words: list[str]
) -> None:
    query = "SELECT 'Zürich 🦦' AS text"
    where = {"HEADRACE_CLICKHOUSE_URL": server.url, "HEADRACE_CLICKHOUSE_DATABASE": DATABASE}
    asked = [query if word == "QUERY" else word for word in words]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "headrace.infra.cli", "sql", *map(os.fsencode, asked)],
        env={"PATH": "/usr/bin:/bin", **where, **shell},
        input=query.encode(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    encoding = shell.get("PYTHONIOENCODING", "utf-8").partition(":")[0]
    if "--json" in words:
        assert json.loads(done.stdout) == {"text": "Zürich 🦦"}
    else:
        shown = "Zürich 🦦".encode(encoding, "replace")
        assert done.stdout.splitlines()[-1].strip() == shown


def test_a_query_changes_nothing_unless_it_is_said_to(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create = "CREATE TABLE meant (a UInt8) ENGINE = Memory"
    assert sql(server, monkeypatch, create) == NO
    assert "--write" in capsys.readouterr().err
    assert sql(server, monkeypatch, "SELECT 1 SETTINGS readonly = 0") == NO
    assert "readonly" in capsys.readouterr().err
    assert sql(server, monkeypatch, "EXISTS TABLE meant", "--json") == 0
    assert strict(capsys.readouterr().out) == {"result": 0}
    assert sql(server, monkeypatch, "--write", create) == 0
    capsys.readouterr()
    assert sql(server, monkeypatch, "EXISTS TABLE meant", "--json") == 0
    assert strict(capsys.readouterr().out) == {"result": 1}


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("SELECT number FROM numbers(1000001)", "max_result_rows"),
        (
            "SELECT count() FROM numbers(10000000000000) WHERE sipHash64(number) = 1 "
            "SETTINGS max_execution_time = 1",
            "max_execution_time",
        ),
        (
            "SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 10000000",
            "max_memory_usage",
        ),
    ],
)
def test_a_reached_limit_is_named_and_nothing_is_said_to_be_away(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    query: str,
    limit: str,
) -> None:
    assert sql(server, monkeypatch, query) == NO
    told = capsys.readouterr().err
    assert limit in told
    assert "headrace up" not in told


def test_a_saved_query_is_asked_by_its_name_with_values(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("@compare_versions", "--param", "policy=a", "--param", "b=2", "--json")
    assert sql(server, monkeypatch, *asked) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["task_input"], first["verdict"]) == ("hard", "better")
    own = ("SELECT {x:Int32} + 1 AS y", "--param", "x=41", "--json")
    assert sql(server, monkeypatch, *own) == 0
    assert json.loads(capsys.readouterr().out) == {"y": 42}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["@version"], "@versions"),
        (["@versions", "--param", "policy=a"], "no parameter policy"),
        (["@trained_as_of", "--param", "version"], "NAME=VALUE"),
        ([], "--list"),
    ],
)
def test_a_saved_query_that_is_asked_wrongly_is_told_how(
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    assert sql(server, monkeypatch, *arguments) == WRONG_USE
    assert said in capsys.readouterr().err


def test_an_interrupt_ends_the_query_on_the_server(server: Server) -> None:
    endless = "SELECT count() FROM numbers(1000000000000000) WHERE sipHash64(number) = 1 "
    endless += "SETTINGS max_execution_time = 0, max_threads = 1"
    running = server.client(database=DATABASE)
    of_it = (
        "SELECT query_id FROM system.processes WHERE query LIKE '%1000000000000000%' "
        "AND query NOT LIKE '%processes%'"
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "headrace.infra.cli", "sql", endless],
        env={
            "PATH": "/usr/bin:/bin",
            "HEADRACE_CLICKHOUSE_URL": server.url,
            "HEADRACE_CLICKHOUSE_DATABASE": DATABASE,
        },
        stderr=subprocess.DEVNULL,
        # A shell's background job passes on that it ignores interrupts.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_until(lambda: running.query(of_it) != [], "the query to run")
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == INTERRUPTED
        wait_until(lambda: running.query(of_it) == [], "the server to end it")
    finally:
        process.kill()
        running.close()


def test_a_query_that_names_its_format_is_answered_as_the_server_writes_it(
    server: Server,
) -> None:
    where = {"HEADRACE_CLICKHOUSE_URL": server.url, "HEADRACE_CLICKHOUSE_DATABASE": DATABASE}

    def told(query: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-P", "-m", "headrace.infra.cli", "sql", query],
            env={"PATH": "/usr/bin:/bin", **where},
            capture_output=True,
            timeout=60,
            check=True,
        ).stdout

    assert told("SELECT 1 AS a, 'x' AS b FORMAT JSONEachRow;") == b'{"a":1,"b":"x"}\n'
    vertical = told("SELECT 7 AS seven FORMAT Vertical SETTINGS max_threads = 1").decode()
    assert vertical.split() == ["Row", "1:", "──────", "seven:", "7"]
