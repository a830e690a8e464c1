"""A trainer that finds no room, or no checkpoint that it can use, halts durably and by name."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from headrace.connectors.kafka import Guard, Patience
from headrace.trainer import checkpoint
from headrace.trainer.errors import (
    BaseChanged,
    CheckpointCorrupt,
    CheckpointMissing,
    NoSpace,
    TrainerError,
)
from headrace.trainer.halting import Halted, halting
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy


class Recorder:
    """Takes down what was halted."""

    def __init__(self) -> None:
        self.halts: list[tuple[object, str, str]] = []

    def halt(self, where: object, reason: str, message: str) -> None:
        self.halts.append((where, reason, message))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (NoSpace("full"), "no_space"),
        (CheckpointMissing("gone"), "checkpoint"),
        (CheckpointCorrupt("torn"), "checkpoint"),
    ],
)
def test_what_a_person_has_to_mend_halts_with_its_reason(error: TrainerError, reason: str) -> None:
    guard = Recorder()
    with pytest.raises(Halted), halting(cast(Guard, guard), Patience()):
        raise error
    assert guard.halts == [(("headrace.credits", 0), reason, str(error))]


@pytest.mark.parametrize("error", [BaseChanged("another"), OSError(5, "I/O error")])
def test_anything_else_goes_its_way(error: Exception) -> None:
    guard = Recorder()
    with pytest.raises(type(error)), halting(cast(Guard, guard), Patience()):
        raise error
    assert guard.halts == []


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """The kernel refuses further bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("file", [checkpoint.WEIGHTS, checkpoint.OPTIMIZER, "config.json"])
def test_a_checkpoint_without_room_is_told_and_leaves_nothing(
    tmp_path: Path, tiny_model: Path, file: str
) -> None:
    policy = Policy.load(tiny_model)
    optimizer = MasterOptimizer(policy, OptimizerConfig())
    saved = checkpoint.save(tmp_path / "once", 0, policy, optimizer)
    size = (saved.path / file).stat().st_size
    with (
        no_file_larger_than(size - 1),
        pytest.raises(NoSpace, match=r"version 1 .*`headrace resume`"),
    ):
        checkpoint.save(tmp_path / "full", 1, policy, optimizer)
    assert list((tmp_path / "full").iterdir()) == []
    checkpoint.save(tmp_path / "full", 1, policy, optimizer)
