"""The trainer's settings from the environment."""

from pathlib import Path

import pytest
import torch

from headrace.connectors.settings import BadSettings
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.config import TrainerConfig, config_from_environment
from headrace.trainer.device import device_of
from headrace.trainer.errors import PolicyLoadError
from headrace.trainer.presets import PRESETS
from headrace.trainer.schedules import LearningRate

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
    assert (config.publishes, config.checkpoints) == ("p~shadow", Path("checkpoints/p~shadow"))
    assert config.intake.policy == "p"


def test_what_is_missing_or_no_number_is_named() -> None:
    without = {k: v for k, v in ENVIRONMENT.items() if k != "HEADRACE_POLICY_NAME"}
    with pytest.raises(BadSettings, match=r"HEADRACE_POLICY_NAME\) is not set"):
        config_from_environment(Path("model"), without)
    with pytest.raises(BadSettings, match=r"HEADRACE_TRAINER_LEARNING_RATE\) is 'fast'"):
        config_from_environment(
            Path("model"), {**ENVIRONMENT, "HEADRACE_TRAINER_LEARNING_RATE": "fast"}
        )


def configured(**settings: str) -> TrainerConfig:
    named = {f"HEADRACE_TRAINER_{name.upper()}": value for name, value in settings.items()}
    return config_from_environment(Path("model"), {**ENVIRONMENT, **named})


def test_every_choice_of_the_section_reaches_what_it_chooses() -> None:
    config = configured(
        device="cuda:1",
        attention="flex",
        token_budget="4096",
        share_prefixes="false",
        aggregation="token_mean",
        correction="tis",
        tis_cap="3",
        clip_low="0.1",
        clip_high="0.28",
        kl_coef="0.04",
        kl_kind="k2",
        weight_decay="0.1",
        max_grad_norm="0.5",
        stale="drop",
    )
    assert (config.device, config.attention, config.intake.stale) == ("cuda:1", "flex", "drop")
    packing, algorithm = config.packing, config.algorithm
    assert (packing.token_budget, packing.pack_tokens) == (4096, 4096)
    assert not packing.share_prefixes
    assert (algorithm.aggregation, algorithm.correction) == ("token_mean", "tis")
    assert (algorithm.tis_cap, algorithm.clip_low, algorithm.clip_high) == (3.0, 0.1, 0.28)
    assert (algorithm.kl_coef, algorithm.kl_kind) == (0.04, "k2")
    assert (config.optimizer.weight_decay, config.optimizer.max_grad_norm) == (0.1, 0.5)


def test_each_of_them_is_in_the_hash() -> None:
    plain = configured().hash()
    changes = {
        "aggregation": "token_mean",
        "clip_high": "0.28",
        "kl_coef": "0.1",
        "token_budget": "4096",
        "stale": "drop",
        "weight_decay": "0.1",
    }
    hashes = {configured(**{name: value}).hash() for name, value in changes.items()}
    assert len(hashes | {plain}) == len(changes) + 1


def test_an_algorithm_stands_for_what_is_left_open_and_each_key_can_be_set_alone() -> None:
    plain, changed = configured(algorithm="dapo"), configured(algorithm="dapo", clip_high="0.3")
    assert (plain.algorithm.clip_high, changed.algorithm.clip_high) == (0.28, 0.3)
    assert plain.algorithm == AlgorithmConfig.preset("dapo", horizon=16)
    assert changed.algorithm.mask_truncated
    assert plain.hash() != changed.hash()
    assert not configured(algorithm="dapo", mask_truncated="false").algorithm.mask_truncated


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_intake_takes_the_baseline_of_the_algorithm(name: str) -> None:
    config = configured(algorithm=name)
    assert config.intake.baseline == PRESETS[config.algorithm.name].baseline


def test_corrections_and_schedules_reach_the_step_and_the_hash() -> None:
    config = configured(
        correction="decoupled",
        correction_level="geometric",
        reject="k3",
        denominator="after",
        updates="3",
        schedule="cosine",
        warmup_versions="5",
        schedule_versions="50",
        schedule_end="0.1",
    )
    algorithm = config.algorithm
    assert (algorithm.correction, algorithm.correction_level) == ("decoupled", "geometric")
    assert (algorithm.reject, algorithm.reject_bounds) == ("k3", (0.0, 0.01))
    assert (algorithm.denominator, algorithm.updates) == ("after", 3)
    assert config.learning_rate == LearningRate(schedule="cosine", warmup=5, versions=50, end=0.1)
    assert config.hash() != configured().hash()


def test_a_group_baseline_may_be_another_group_baseline() -> None:
    environment = {**ENVIRONMENT, "HEADRACE_CREDIT_BASELINE": "leave_one_out"}
    assert config_from_environment(Path("model"), environment).intake.baseline == "leave_one_out"


@pytest.mark.parametrize(
    ("algorithm", "baseline"),
    [("grpo", "none"), ("reinforce_pp", "grpo"), ("reinforce_pp", "rloo"), ("ppo", "grpo")],
)
def test_a_baseline_that_contradicts_the_algorithm_is_refused(
    algorithm: str, baseline: str
) -> None:
    environment = {
        **ENVIRONMENT,
        "HEADRACE_TRAINER_ALGORITHM": algorithm,
        "HEADRACE_CREDIT_BASELINE": baseline,
    }
    with pytest.raises(BadSettings, match=r"\[credit\] baseline .*\[trainer\] algorithm"):
        config_from_environment(Path("model"), environment)


def test_ppo_has_a_critic_with_settings_of_its_own() -> None:
    assert configured().critic is None
    environment = {
        **ENVIRONMENT,
        "HEADRACE_TRAINER_ALGORITHM": "ppo",
        "HEADRACE_TRAINER_GAE": "token",
        "HEADRACE_TRAINER_GAMMA": "0.99",
        "HEADRACE_CRITIC_LEARNING_RATE": "1e-4",
        "HEADRACE_CRITIC_WARMUP": "2",
    }
    config = config_from_environment(Path("model"), environment)
    assert config.critic is not None
    assert (config.critic.optimizer.lr, config.critic.warmup) == (1e-4, 2)
    assert (config.algorithm.gae, config.algorithm.gamma) == ("token", 0.99)
    assert [config.rate(version) for version in (1, 2, 3)] == [0.0, 0.0, 1.0]
    other = {**environment, "HEADRACE_CRITIC_CLIP": "0.5"}
    assert config.hash() != config_from_environment(Path("model"), other).hash()
    with pytest.raises(BadSettings, match=r"\[credit\] call .* by its critic"):
        config_from_environment(
            Path("model"), {**environment, "HEADRACE_CREDIT_CALL": "discounted(0.9)"}
        )


def test_packs_that_cannot_hold_what_the_engine_samples_are_refused() -> None:
    with pytest.raises(BadSettings, match=r"token_budget is 1024, and .* max_sequence is 2048"):
        configured(token_budget="1024")
    shorter = {
        **ENVIRONMENT,
        "HEADRACE_TRAINER_TOKEN_BUDGET": "1024",
        "HEADRACE_POLICY_MAX_SEQUENCE": "1024",
    }
    assert config_from_environment(Path("model"), shorter).packing.token_budget == 1024


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"device": "gpu"}, "give auto, cpu, cuda or cuda:N"),
        ({"device": "cpu", "attention": "flex"}, "a CPU has no backward pass"),
        ({"stale": "keep"}, "give wait or withhold or drop"),
        ({"aggregation": "mean"}, "give horizon or episode_mean or call_mean or token_mean"),
        ({"algorithm": "a2c"}, "give grpo or dr_grpo or rloo"),
        ({"algorithm": "gspo", "aggregation": "token_mean"}, "is 'token_mean', and loss is 'gspo'"),
        ({"loss": "reinforce"}, "is 'ratio', and loss is 'reinforce'"),
        ({"dual_clip": "0.5"}, "give more than 1, or 0 for none"),
        ({"algorithm": "cispo", "dual_clip": "3"}, "only 'ppo' has one"),
        ({"mis_low": "3"}, "give more than mis_low, 3"),
        ({"reject": "k3", "reject_low": "1"}, "give reject_low, 1, or more"),
        ({"schedule": "linear"}, "give more than warmup_versions, 0"),
        ({"updates": "0"}, "give 1 or more"),
        ({"kl_reference": "p@7"}, "give base, @7 for version 7, or -2"),
        ({"clip_low": "low"}, "clip_low .* is 'low': give a number"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(settings: dict[str, str], told: str) -> None:
    with pytest.raises(BadSettings, match=told):
        configured(**settings)


def test_a_device_that_is_not_there_is_refused_and_auto_takes_what_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert [device_of(one) for one in ("auto", "cpu", "cuda", "cuda:0")] == [
        "cuda",
        "cpu",
        "cuda",
        "cuda:0",
    ]
    with pytest.raises(PolicyLoadError, match="sees 1 GPUs"):
        device_of("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of("auto") == "cpu"
    with pytest.raises(PolicyLoadError, match="sees 0 GPUs"):
        device_of("cuda")


def test_how_packs_are_read_goes_by_the_device_that_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)  # a driver, and no GPU to be seen
    config = configured(device="auto")
    assert (config.device, config.attention) == ("cpu", "dense")
    with pytest.raises(BadSettings, match="a CPU has no backward pass"):
        configured(device="auto", attention="flex")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    config = configured(device="auto")
    assert (config.device, config.attention) == ("cuda", "flex")


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
