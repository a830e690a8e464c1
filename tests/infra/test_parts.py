"""The parts that the settings make."""

import json
from pathlib import Path

import pytest

from headrace.infra.parts import build_parts, heartbeat_file
from headrace.infra.settings import load


@pytest.mark.parametrize("name", ["assemble", "credit", "sink", "trainer"])
def test_a_worker_is_not_ready_by_what_its_earlier_life_said(name: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    settings = load(
        environment={
            "HEADRACE_DATA_DIRECTORY": str(tmp_path),
            "HEADRACE_POLICY_MODEL": str(model),
        }
    )
    (part,) = (part for part in build_parts(settings) if part.name == name)
    beat = heartbeat_file(settings, name)
    beat.parent.mkdir(parents=True)
    beat.write_text(json.dumps({"ready": True}))
    assert part.ready()

    assert part.prepare is not None
    part.prepare()
    assert not part.ready()
