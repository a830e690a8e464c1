"""The demo's own settings file."""

from pathlib import Path

from headrace.infra.demo.workplace import prepare
from headrace.infra.settings import load


def test_what_the_demo_writes_is_read_again_with_its_overrides(tmp_path: Path) -> None:
    settings = load(environment={"HEADRACE_DATA_DIRECTORY": str(tmp_path / "demo")})
    written, file = prepare(
        settings, {"trainer": {"group_size": 4}, "agents": {"checker": "frozen"}}
    )
    assert written == load(file)
    assert (written.trainer.group_size, written.agents.entries) == (4, {"checker": "frozen"})
    assert written.directory == settings.directory
