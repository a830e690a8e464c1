"""The trainer's settings from the environment."""

from pathlib import Path

import pytest

from headrace.connectors.settings import BadSettings
from headrace.trainer.config import config_from_environment

ENVIRONMENT = {
    "HEADRACE_KAFKA_BOOTSTRAP": "127.0.0.1:9092",
    "HEADRACE_REGISTRY_URL": "http://127.0.0.1:8081",
    "HEADRACE_CHECKPOINT_DIRECTORY": "checkpoints",
    "HEADRACE_POLICY_NAME": "p",
    "HEADRACE_TRAINER_GROUP_SIZE": "4",
    "HEADRACE_TRAINER_GROUPS_PER_STEP": "3",
}


def test_a_step_takes_groups_times_their_size() -> None:
    config = config_from_environment(Path("model"), ENVIRONMENT)
    assert config.intake.rollouts_per_step == 12
    assert (config.publishes, config.checkpoints) == ("p", Path("checkpoints/p"))


def test_a_shadow_trainer_publishes_beside_the_policy_and_keeps_its_own_checkpoints() -> None:
    config = config_from_environment(
        Path("model"), {**ENVIRONMENT, "HEADRACE_TRAINER_NAME": "shadow"}
    )
    assert (config.publishes, config.checkpoints) == ("p.shadow", Path("checkpoints/p.shadow"))
    assert config.intake.policy == "p"


def test_what_is_missing_or_no_number_is_named() -> None:
    without = {k: v for k, v in ENVIRONMENT.items() if k != "HEADRACE_POLICY_NAME"}
    with pytest.raises(BadSettings, match=r"HEADRACE_POLICY_NAME\) is not set"):
        config_from_environment(Path("model"), without)
    with pytest.raises(BadSettings, match=r"HEADRACE_TRAINER_LEARNING_RATE\) is 'fast'"):
        config_from_environment(
            Path("model"), {**ENVIRONMENT, "HEADRACE_TRAINER_LEARNING_RATE": "fast"}
        )


def test_addresses_and_paths_do_not_change_the_hash_and_the_rate_does() -> None:
    one = config_from_environment(Path("model"), {**ENVIRONMENT, "HEADRACE_POLICY_MODEL": "m"})
    moved = config_from_environment(
        Path("elsewhere"),
        {**ENVIRONMENT, "HEADRACE_POLICY_MODEL": "m", "HEADRACE_CHECKPOINT_DIRECTORY": "other"},
    )
    faster = config_from_environment(
        Path("model"),
        {**ENVIRONMENT, "HEADRACE_POLICY_MODEL": "m", "HEADRACE_TRAINER_LEARNING_RATE": "1e-4"},
    )
    assert one.hash() == moved.hash() != faster.hash()
