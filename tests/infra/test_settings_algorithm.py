"""The credit stage follows the trainer's algorithm."""

from pathlib import Path

import pytest

from headrace.connectors.settings import from_environment
from headrace.infra.errors import SettingsError
from headrace.infra.settings import Settings, load
from headrace.streams.credit.config import CreditSettings
from headrace.streams.credit.overlong import Overlong
from headrace.trainer.config import config_from_environment
from headrace.trainer.presets import PRESETS


def loaded(directory: Path, text: str) -> Settings:
    file = directory / "headrace.toml"
    file.write_text(text)
    return load(file, environment={})


@pytest.mark.parametrize("algorithm", sorted(PRESETS))
def test_credit_and_trainer_agree_on_the_baseline(algorithm: str, tmp_path: Path) -> None:
    settings = loaded(tmp_path, f"[trainer]\nalgorithm = '{algorithm}'\n")
    environment = {**settings.environment(), "HEADRACE_CHECKPOINT_DIRECTORY": "c"}
    credit = from_environment(CreditSettings, "credit", environment)
    trainer = config_from_environment(Path("model"), environment)
    assert credit.method == settings.credit.method
    assert credit.method.baseline_name == trainer.intake.baseline
    assert trainer.algorithm.name == algorithm


def test_dapo_punishes_long_calls_and_can_be_told_not_to(tmp_path: Path) -> None:
    dapo = "[trainer]\nalgorithm = 'dapo'\n"
    assert loaded(tmp_path, dapo).credit.overlong == Overlong(tokens=2048, buffer=409)
    without = loaded(tmp_path, f"{dapo}[credit]\noverlong_tokens = 0\n")
    assert without.credit.overlong.name == ""
    assert loaded(tmp_path, "").credit.overlong.name == ""


@pytest.mark.parametrize(
    "text",
    [
        "[trainer]\nalgorithm = 'reinforce_pp'\n[credit]\nbaseline = 'grpo'\n",
        "[credit]\nbaseline = 'none'\n",
    ],
)
def test_a_contradiction_names_both_keys(text: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\[credit\] baseline .*\[trainer\] algorithm"):
        loaded(tmp_path, text)


def test_an_unknown_algorithm_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"algorithm .*'a2c': give grpo or dr_grpo or"):
        loaded(tmp_path, "[trainer]\nalgorithm = 'a2c'\n")
