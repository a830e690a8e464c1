"""`headrace run` on the real broker and registry."""

import subprocess
import sys
from pathlib import Path

from headrace.infra.embedded import Stack
from headrace.schemas import new_ulid
from tests.support.environment import environment_of
from tests.support.watching import Watch

AGENT = """
from headrace.connectors.sdk import reward, tool

@tool
def add(a, b):
    return a + b

add(2, 3)
reward(1.0, name="correct")
print("five")
"""


def test_an_agent_as_it_is_becomes_one_episode(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    rollout = new_ulid()
    environment = environment_of(stack, HEADRACE_DATA_DIRECTORY=tmp_path / "data")
    command = [sys.executable, "-m", "headrace.infra.cli", "run", "--no-gateway"]
    command += ["--rollout", rollout, "--", sys.executable, "agent.py"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "five\n"), done.stderr
    assert "4 spans delivered" in done.stderr
    watch = Watch(stack)
    watch.until(lambda: watch.ended(rollout) == 1)
    (seen,) = watch.attempts[rollout].values()
    assert [kind for kind, _, _ in seen.spans] == [
        *("attempt.start", "tool", "reward", "attempt.end")
    ]
    assert seen.result == '"five"'
    assert len(seen.producers) == 1
    watch.close()
    assert list((tmp_path / "data" / "spool" / "attempts").iterdir()) == []
