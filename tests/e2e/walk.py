"""How each command of the pages is run, and what it must do.

A command that no step matches fails tests/docs/test_documents.py, until a step or an entry in
tests/docs/elsewhere.py is there for it.
"""

import json
import re
import shutil
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from headrace.connectors.clickhouse.saved import saved_queries
from headrace.infra.cli.app import NO, NOT_RUNNING
from headrace.infra.demo.follow import COLUMNS
from tests.docs.blocks import ROOT
from tests.e2e.reader import DEFAULTS, Reader

UP = "headrace up --detach"
PARTS = [
    *("kafka", "registry", "clickhouse"),
    *("assemble", "credit", "sink", "trainer", "gateway", "otlp", "console"),
]
POLICY = DEFAULTS.policy.name
THEIR_ANSWER = "<calc>37 * 4</calc>"
"""What the upstream's model says: that of the calculator's page."""
SHORT_DEMO = "headrace demo --versions 1 --heldout 8"
"""What `make demo` runs (test_make_targets.py), with less to train and to ask."""
SMALL_STEPS = {"HEADRACE_TRAINER_GROUP_SIZE": "4", "HEADRACE_TRAINER_GROUPS_PER_STEP": "2"}

YOUR_AGENT = """
import os

from openai import OpenAI

client = OpenAI()
answer = client.chat.completions.create(
    model=os.environ.get("MODEL", "assistant"),
    messages=[{"role": "user", "content": "What is 2 plus 3?"}],
    max_tokens=8,
)
print(answer.id)
"""


@dataclass(kw_only=True, slots=True, frozen=True)
class Step:
    """What to do at a command."""

    pattern: str
    do: Callable[[Reader, str], None]
    up: bool = True
    """Whether the pages may take it for granted there that headrace is up."""


def demo(reader: Reader, _: str) -> None:
    said = reader.type(SHORT_DEMO, HEADRACE_POLICY_MODEL="smollm2", **SMALL_STEPS)
    # With eight questions the claim is hardly proven; the verdict and the code must agree.
    better = "The model got better." in said.ended(0, NO)
    assert better == (said.code == 0)
    assert better != ("This run does not show that the model got better." in said.output)
    assert "8 questions never trained on: version 0 got" in said.output
    assert "+ 0 pending" in said.output
    assert COLUMNS in said.output
    assert COLUMNS in (ROOT / "README.md").read_text()
    assert (reader.data / "demo.png").stat().st_size > 0
    assert reader.is_up()


def curl(reader: Reader, line: str) -> None:
    if shutil.which("curl") is None:
        warnings.warn(f"curl is not installed: {line} was not run", stacklevel=1)
        return
    answer = reader.type(line).ended(0)
    assert answer.strip()
    assert "DB::Exception" not in answer


def sql(reader: Reader, line: str) -> None:
    answer = reader.type(line).ended(0)
    if "--json" in line:
        rows = [json.loads(row) for row in answer.splitlines()]
    else:
        rows = answer.splitlines()[1:]
    assert rows


def saved_query(reader: Reader, line: str) -> None:
    """The default policy may have one version alone: then two have nothing in common."""
    assert reader.type(line).ended(0).strip()


def priced(reader: Reader, line: str) -> None:
    reader.type(line).ended(0)
    assert reader.await_row("SELECT * FROM prices WHERE model = 'assistant'")


def list_of_queries(reader: Reader, line: str) -> None:
    told = reader.type(line).ended(0)
    assert all(f"@{name}" in told for name in saved_queries())


def status(reader: Reader, line: str) -> None:
    shown = reader.type(line).ended(0)
    assert re.findall(r"^(\w+) +ready", shown, re.MULTILINE) == PARTS


def doctor(reader: Reader, line: str) -> None:
    found = reader.type(line)
    lacks = [row for row in found.ended(0, NO).splitlines() if row.startswith("no ")]
    assert bool(lacks) == (found.code == NO)
    assert re.search(r"^ok +python", found.output, re.MULTILINE)
    assert re.search(r"^ok +ports", found.output, re.MULTILINE)


def down(reader: Reader, line: str) -> None:
    assert "stopped" in reader.type(line).ended(0)
    assert not reader.is_up()
    assert "ready" not in reader.type("headrace status").ended(NOT_RUNNING)


def up(reader: Reader, line: str) -> None:
    assert "headrace is up" in reader.type(line).ended(0)
    assert reader.is_up()


def resume(reader: Reader, line: str) -> None:
    """Nothing is halted here, and it says so. That halted ones go on, its own tests show."""
    named = "/" in line
    said = reader.type(line).ended(NO if named else 0)
    assert ("is not halted" if named else "no partition is halted") in said


def agent(reader: Reader, line: str) -> None:
    reader.write("your_agent.py", YOUR_AGENT)
    response = reader.type(line).ended(0).strip()
    call = reader.await_row(f"SELECT * FROM calls WHERE response_id = '{response}'")
    assert (call["policy"], call["version_min"], call["trainable"]) == ("assistant", 0, True)
    assert call["completion_tokens"]
    reader.notes["agent"] = line


def foreign_model(reader: Reader, variable: str) -> None:
    assert reader.environment[variable]  # since before headrace was started
    response = reader.type(reader.notes["agent"], MODEL="theirs").ended(0).strip()
    call = reader.await_row(f"SELECT * FROM calls WHERE response_id = '{response}'")
    assert (call["model"], call["output"]) == ("theirs", THEIR_ANSWER)
    assert (call["trainable"], call["untrainable_reason"]) == (False, "no_tokens")


def agent_function(reader: Reader, block: str) -> None:
    reader.write("your_module.py", block)


def work(reader: Reader, line: str) -> None:
    reader.notes["work"] = line
    runner = reader.start(line)
    assert runner.stdout is not None
    assert "working for" in runner.stdout.readline()
    assert "attempts: 0 ok" in reader.interrupt(runner, signal.SIGTERM).ended(0)


def tasks(reader: Reader, line: str) -> None:
    """Every rollout that it asks for ends, and is given a reward by README's rule."""
    split, of_each = (
        ("eval", 1) if "--split eval" in line else ("train", DEFAULTS.trainer.group_size)
    )
    groups = len((reader.folder / "tasks.jsonl").read_text().splitlines())
    rollouts = groups * of_each
    runner = reader.start(reader.notes["work"])
    assert f"{rollouts} rollouts asked for" in reader.type(line).ended(0)
    reader.await_row(
        "SELECT count() AS ended FROM episodes FINAL "
        "WHERE state = 'closed' AND status = 'ok' AND complete AND rollout_id IN "
        f"(SELECT rollout_id FROM tasks WHERE policy = '{POLICY}' AND split = '{split}') "
        f"HAVING ended = {rollouts}"
    )
    given = reader.await_row(
        "SELECT count() AS rewards, uniqExact(group_id) AS groups, min(reward) AS least, "
        "max(reward) AS most, any(rollout_id) AS rollout_id, any(attempt) AS attempt FROM credits "
        f"WHERE policy = '{POLICY}' AND split = '{split}' HAVING rewards = {rollouts}"
    )
    assert given["groups"] == groups
    assert 0.0 <= given["least"] <= given["most"] <= 1.0
    reader.notes |= {name: str(given[name]) for name in ("rollout_id", "attempt")}
    assert f"attempts: {rollouts} ok" in reader.interrupt(runner, signal.SIGINT).ended(0)


def late_reward(reader: Reader, block: str) -> None:
    known = [f"{name} = {reader.notes[name]!r}\n" for name in ("rollout_id", "attempt")]
    reader.write("late_reward.py", "".join(known) + block)
    reader.type("python late_reward.py").ended(0)
    given = reader.await_row(
        "SELECT value, source FROM rewards WHERE name = 'thumbs' "
        f"AND rollout_id = '{reader.notes['rollout_id']}'"
    )
    assert given == {"value": 1.0, "source": "user"}


def example_agent(reader: Reader, block: str) -> None:
    """Typed into an interpreter, it shows what the page says it shows."""
    reader.write("typed.py", block)
    shown = reader.type("python -iq < typed.py").ended(0)
    (promised,) = re.findall(r"^# (\{.*\})$", block, re.MULTILINE)
    assert promised in shown


def tasks_status(reader: Reader, line: str) -> None:
    assert "policy" in reader.type(line).ended(0)


def cancel(reader: Reader, line: str) -> None:
    """Of a rollout that has been credited there is nothing to take back; it stays as it is."""
    rollout = reader.notes["rollout_id"]
    told = reader.type(line.replace("ROLLOUT_OR_GROUP", rollout)).ended(0)
    assert "rollouts" in told


STEPS = (
    Step(pattern=r"make demo", do=demo, up=False),
    Step(pattern=r"curl .* --data-binary '.*'", do=curl),
    Step(pattern=r"headrace sql (--json )?'.*'", do=sql),
    Step(pattern=r"headrace sql @\w+( --param \w+=\w+)*", do=saved_query),
    Step(pattern=r"headrace sql --list", do=list_of_queries),
    Step(pattern=r'headrace sql --write "INSERT INTO prices .*"', do=priced),
    Step(pattern=r"headrace status", do=status),
    Step(pattern=r"headrace doctor", do=doctor, up=False),
    Step(pattern=r"headrace down", do=down),
    Step(pattern=re.escape(UP), do=up, up=False),
    Step(pattern=r"headrace resume( .*)?", do=resume),
    Step(pattern=r"OPENAI_BASE_URL=\S+ OPENAI_API_KEY=\w+ python your_agent\.py", do=agent),
    Step(pattern=r"HEADRACE_GATEWAY_UPSTREAM_URL", do=foreign_model),
    Step(pattern=r"from openai import OpenAI\n.*def run\(task_input, .*", do=agent_function),
    Step(pattern=r"headrace work --agent your_module:run", do=work),
    Step(pattern=r"headrace tasks tasks\.jsonl( .*)?", do=tasks),
    Step(pattern=r"headrace tasks status", do=tasks_status),
    Step(pattern=r"headrace tasks cancel ROLLOUT_OR_GROUP .*", do=cancel),
    Step(pattern=r"from headrace\.connectors\.sdk import .*send_reward\(.*", do=late_reward),
    Step(pattern=r"from examples\.calculator\.agent import run\n.*", do=example_agent),
)


def step_for(command: str) -> Step | None:
    """The step of a command, if the walk has one."""
    return next((s for s in STEPS if re.fullmatch(s.pattern, command, re.DOTALL)), None)
