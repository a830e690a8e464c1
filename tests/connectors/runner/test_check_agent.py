"""An agent is looked at before the first task comes, in a process of its own."""

import sys
from pathlib import Path

import pytest

from headrace.connectors.runner import AgentUnusable, check_agent

AGENTS = {
    "good": "async def run(task_input, *, base_url, api_key, model=''): ...",
    "raises": "1 / 0",
    "leaves": "import os; os._exit(4)",
    "other": "def run(question): ...\nname = 'x'",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Agents lie where the command is started."""
    for name, text in AGENTS.items():
        (tmp_path / f"checked_{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)


def test_a_good_agent_is_imported_elsewhere() -> None:
    check_agent("checked_good:run")
    assert "checked_good" not in sys.modules


@pytest.mark.parametrize(
    ("agent", "trouble"),
    [
        ("checked_nothere:run", "No module named 'checked_nothere'"),
        ("checked_other:nothere", "has no attribute 'nothere'"),
        ("checked_other:name", "is not a function"),
        ("checked_other:run", "cannot be called as run(task_input, base_url=…, api_key=…)"),
        ("checked_raises:run", "ZeroDivisionError: division by zero"),
        ("checked_leaves:run", "exit code 4"),
    ],
)
def test_what_is_wrong_with_an_agent_is_told(agent: str, trouble: str) -> None:
    with pytest.raises(AgentUnusable) as caught:
        check_agent(agent)
    assert trouble in str(caught.value)
    assert repr(agent) in str(caught.value)
