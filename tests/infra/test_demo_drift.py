"""The drift demo's course, and the version that is made bad."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from headrace.infra.demo import CASES, DemoConfig
from headrace.infra.demo.drift.bad import spoil
from headrace.infra.demo.drift.course import changed_at
from headrace.infra.errors import SettingsError


def test_a_bad_version_has_the_shapes_of_the_good_one_and_none_of_its_matrices(
    tmp_path: Path,
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    weights = {"norm": torch.ones(4), "matrix": torch.randn(4, 4).to(torch.bfloat16)}
    save_file(weights, good / "model.safetensors")
    for name in ("config.json", "optimizer.safetensors", "manifest.json"):
        (good / name).write_text("{}")
    spoil(good, bad)
    found = load_file(bad / "model.safetensors")
    assert torch.equal(found["norm"], weights["norm"])
    assert found["matrix"].dtype == torch.bfloat16
    assert not torch.isclose(found["matrix"], weights["matrix"]).all()
    assert torch.equal(load_file(good / "model.safetensors")["matrix"], weights["matrix"])
    assert {file.name for file in bad.iterdir()} == {"config.json", "model.safetensors"}


def test_users_change_after_a_third_of_the_versions() -> None:
    assert {versions: changed_at(versions) for versions in (2, 5, 9)} == {2: 1, 5: 1, 9: 3}


@pytest.mark.parametrize(("versions", "chaos"), [(1, False), (9, True)])
def test_what_it_cannot_do_is_refused_before_anything_starts(versions: int, chaos: bool) -> None:
    with pytest.raises(SettingsError, match="2 versions at least"):
        DemoConfig(case=CASES["drift"], versions=versions, chaos=chaos)
