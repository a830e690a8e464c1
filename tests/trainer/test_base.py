"""A policy goes on from the base it was begun from, and from no other."""

from pathlib import Path

import pytest

from headrace.schemas import PolicyVersion
from headrace.trainer.base import base_hash, refuse_another
from headrace.trainer.errors import BaseChanged


def model(directory: Path, weights: bytes = b"w", config: str = "{}") -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "model.safetensors").write_bytes(weights)
    (directory / "config.json").write_text(config)
    (directory / "tokenizer.json").write_text("{}")
    return directory


def test_the_hash_is_that_of_the_content_wherever_it_lies(tmp_path: Path) -> None:
    one, other = model(tmp_path / "a"), model(tmp_path / "b")
    (other / "README.md").write_text("about it")
    assert base_hash(one) == base_hash(other)
    assert base_hash(model(tmp_path / "c", weights=b"x")) != base_hash(one)
    assert base_hash(model(tmp_path / "d", config='{"a": 1}')) != base_hash(one)
    (other / "tokenizer.json").write_text('{"b": 2}')
    assert base_hash(one) != base_hash(other)


def version(base: str) -> PolicyVersion:
    return PolicyVersion(
        policy="p", version=7, base_model="old", base_hash=base, uri="checkpoints/p/7"
    )


def test_another_base_is_refused_with_the_choice() -> None:
    with pytest.raises(BaseChanged) as refused:
        refuse_another(version("a" * 64), "b" * 64, "new")
    text = str(refused.value)
    assert "begun from old" in text
    assert "now new" in text
    assert "new [policy] name" in text
    assert "p@7" in text
    assert "checkpoints/p/7" in text


@pytest.mark.parametrize("last", [None, version("b" * 64), version("")])
def test_the_same_base_no_version_and_versions_from_before_are_gone_on_with(
    last: PolicyVersion | None,
) -> None:
    refuse_another(last, "b" * 64, "new")
