"""The wheel holds every module and every data file; nothing is left to a checkout."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PORTIONS = ("streams", "schemas", "trainer", "kernels", "connectors", "infra")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    directory = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(directory), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("portion", PORTIONS)
def test_the_wheel_holds_the_whole_portion(portion: str, names: set[str]) -> None:
    files = [
        path.relative_to(ROOT / portion).as_posix()
        for path in (ROOT / portion / "headrace").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    assert files
    assert [file for file in files if file not in names] == []
    assert f"headrace/{portion}/py.typed" in names


def test_the_namespace_stays_open(names: set[str]) -> None:
    assert "headrace/__init__.py" not in names
    assert list(ROOT.glob("*/headrace/__init__.py")) == []


def test_no_test_or_example_is_shipped(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert tops == {"headrace"}
