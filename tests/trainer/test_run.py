"""The trainer process: what its exit code says."""

import signal
from pathlib import Path

import pytest

from headrace.trainer import __main__ as process
from headrace.trainer.errors import TrainerError, TrainerFenced
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


def test_a_fenced_trainer_exits_with_1_and_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(monkeypatch, TrainerFenced("another trainer has started")) == 1
    assert "another trainer has started" in caplog.text


def test_a_stopped_trainer_exits_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(monkeypatch) == 0


def test_a_missing_setting_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("HEADRACE_POLICY_NAME")
    assert main(monkeypatch) == 2
    assert "HEADRACE_POLICY_NAME" in caplog.text
