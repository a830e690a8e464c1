"""The agents that a demo can show, each a folder of `examples/`.

A folder has `agent.py` (`run`), `tasks.py` (`train`, `heldout`), `rewards.py` and `settings.toml`.
"""

import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from headrace.connectors.tasks import TaskItem
from headrace.infra.errors import SetupError
from headrace.infra.paired import SOLVED


class Tasks(Protocol):
    """The module `tasks` of an example."""

    def train(self, seed: int = 0) -> Iterator[TaskItem]:
        """Tasks without end, drawn by a seed."""

    def heldout(self, n: int) -> list[TaskItem]:
        """Tasks that are never trained on, always the same, each with a seed to sample with."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Case:
    """One agent that learns."""

    name: str
    """Of its folder."""
    about: str
    """In a line."""
    versions: int
    """Policy versions that it takes."""
    framework: str = ""
    """Folder of `examples/frameworks` whose environment it runs in; empty: headrace's own."""
    right: float = SOLVED
    """Reward from which on an answer is right."""
    drifts: bool = False
    """Whether the users' tasks change on the way, and new versions are tried: it takes its own
    course (`headrace.infra.demo.drift`)."""

    @property
    def agent(self) -> str:
        """What a runner is to run."""
        return f"examples.{self.name}.agent:run"

    @property
    def python(self) -> Path:
        """The interpreter that runs it. Raises SetupError where its environment is missing."""
        if not self.framework:
            return Path(sys.executable)
        found = Path.cwd() / ".venv-frameworks" / self.framework / "bin" / "python"
        if not found.exists():
            raise SetupError(
                f"the agent of this demo needs {self.framework}: "
                f"`make framework-environments ONLY={self.framework}`"
            )
        return found

    def settings(self, file: str = "settings.toml") -> Mapping[str, Mapping[str, Any]]:
        """Its sections of settings, by a file of its folder.

        Raises SetupError outside a checkout, or where there is no such file.
        """
        folder = Path.cwd() / "examples" / self.name
        if not (folder / "agent.py").exists():
            raise SetupError(
                f"the demo's agent is in examples/{self.name} of headrace's repository: run "
                "`headrace demo` in a clone of it"
            )
        if not (folder / file).is_file():
            known = ", ".join(sorted(found.name for found in folder.glob("*.toml")))
            raise SetupError(f"examples/{self.name} has no settings {file}: it has {known}")
        return tomllib.loads((folder / file).read_text(encoding="utf-8"))

    def tasks(self) -> Tasks:
        """Its tasks, from the checkout here."""
        if str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return cast("Tasks", import_module(f"examples.{self.name}.tasks"))


CASES = {
    case.name: case
    for case in (
        Case(name="calculator", about="arithmetic with one calculator call", versions=10),
        Case(
            name="text_to_sql",
            about="LangGraph: write, execute, check and rewrite a query",
            versions=12,
            framework="langchain",
        ),
        Case(
            name="retrieval",
            about="OpenAI Agents SDK: search a knowledge base and answer from it",
            versions=12,
            framework="openai-agents",
        ),
        Case(
            name="calculator_autogen",
            about="AutoGen: a calculator by function calling",
            versions=12,
            framework="autogen",
        ),
        Case(
            name="recovery",
            about="a calculator that fails, and a backup to call then",
            versions=10,
            right=0.7,
        ),
        Case(
            name="drift",
            about="tasks that change on the way, late feedback, a canary",
            versions=10,
            drifts=True,
        ),
    )
}
