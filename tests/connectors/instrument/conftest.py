"""A place to run agents in."""

from pathlib import Path

import pytest

from tests.connectors.instrument.watched import Workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)
