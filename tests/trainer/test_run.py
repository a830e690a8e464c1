"""The trainer process: what its exit code says."""

import signal
import threading
from pathlib import Path

import pytest

from headrace.trainer import __main__ as process
from headrace.trainer.errors import (
    BaseChanged,
    PolicyLoadError,
    ReferenceMissing,
    TrainerError,
    TrainerFenced,
)
from headrace.trainer.run import Trainer

ENVIRONMENT = {
    "HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "HEADRACE_REGISTRY_URL": "mock://run",
    "HEADRACE_CHECKPOINT_DIRECTORY": "checkpoints",
    "HEADRACE_POLICY_NAME": "p",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def main(monkeypatch: pytest.MonkeyPatch, error: TrainerError | None = None) -> int:
    def run(*_: object) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(Trainer, "run", run)
    return process.main(["--model-directory", str(Path("model"))])


def test_a_fenced_trainer_stands_idle_until_it_is_stopped_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Two of one name would fence each other for ever if each were started again."""

    class Stop(threading.Event):
        asked = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.asked += 1
            return self.asked > 2

    monkeypatch.setattr(threading, "Event", Stop)
    monkeypatch.setenv("HEADRACE_RUN_DIRECTORY", str(tmp_path))
    assert main(monkeypatch, TrainerFenced("another trainer has started")) == 1
    assert "another trainer has started" in caplog.text
    assert "fenced" in (tmp_path / "trainer.json").read_text()


def test_a_trainer_that_cannot_go_on_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(monkeypatch, TrainerError("the checkpoint is gone")) == 1
    assert "the checkpoint is gone" in caplog.text


@pytest.mark.parametrize(
    "error", [BaseChanged("another base"), ReferenceMissing("no @9"), PolicyLoadError("no head")]
)
def test_what_no_other_start_mends_exits_with_3(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: TrainerError
) -> None:
    assert main(monkeypatch, error) == 3
    assert f"the trainer cannot start: {error}" in caplog.text


def test_a_stopped_trainer_exits_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(monkeypatch) == 0


def test_a_missing_setting_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HEADRACE_POLICY_NAME")
    assert main(monkeypatch) == 2
    assert "HEADRACE_POLICY_NAME" in caplog.text
