"""The pages from top to bottom: what they tell to type is typed, and does what they say."""

import shutil
from pathlib import Path

import pytest

from headrace.infra.embedded.models import tiny_llama
from tests.docs.blocks import ROOT, blocks, commands
from tests.e2e.reader import Reader
from tests.e2e.walk import THEIR_ANSWER, UP, step_for, up
from tests.support.model_server import model_server


def readme(language: str, holding: str) -> str:
    """The one block of README that holds a text."""
    (found,) = (
        block.text
        for block in blocks(language)
        if block.page == "README.md" and holding in block.text
    )
    return found


@pytest.mark.timeout(900)
def test_the_pages_can_be_followed(tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    with model_server(THEIR_ANSWER) as theirs, Reader(folder) as reader:
        reader.environment["HEADRACE_GATEWAY_UPSTREAM_URL"] = f"{theirs.url}/v1"
        reader.settle(tiny_llama(tmp_path / "model"), more=readme("toml", "my_rewards:solved"))
        reader.write("my_rewards.py", readme("python", "def solved("))
        reader.write("tasks.jsonl", readme("text", '{"input"'))
        for command in commands():
            step = step_for(command.text)
            if step is None:
                continue
            if step.up and not reader.is_up():
                up(reader, UP)
            try:
                step.do(reader, command.text)
            except Exception as error:
                error.add_note(f"at {command}")
                raise
    shutil.rmtree(reader.data)  # checkpoints of a real model: gigabytes
