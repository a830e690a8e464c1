"""Algorithms with more than one model, on the real broker: a critic, and a reference."""

from __future__ import annotations

from pathlib import Path

from headrace.trainer import checkpoint
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.critic import CriticConfig
from headrace.trainer.optimizer import OptimizerConfig
from tests.integration.trainer.bench import TrainerBench

PPO = {
    "algorithm": AlgorithmConfig.preset("ppo"),
    "critic": CriticConfig(optimizer=OptimizerConfig(lr=1e-3)),
}


def test_a_critic_is_part_of_each_version_and_a_restarted_trainer_goes_on_with_it(
    bench: TrainerBench,
) -> None:
    one, other = bench.group_ids(2)
    with bench.trainer(**PPO):
        bench.put(one)
        *_, first = bench.await_version(1)
    with bench.trainer(**PPO):
        bench.put(other)
        *_, second = bench.await_version(2)
    for version in (first, second):
        files = checkpoint.verify(Path(version.uri), version.content_hash)["files"]
        assert checkpoint.CRITIC in files
        assert version.metrics["critic_grad_norm"] > 0.0
    assert first.metrics["explained_variance"] == 0.0  # it began at 0
    assert second.metrics["explained_variance"] != 0.0  # and did not begin again


def test_each_version_names_what_its_kl_was_taken_to(bench: TrainerBench) -> None:
    groups = bench.group_ids(3)
    settings = {
        "algorithm": AlgorithmConfig(horizon=4, kl_coef=0.1),
        "kl_reference": "-1",
    }
    with bench.trainer(**settings):
        for number, group in enumerate(groups, 1):
            bench.put(group, version=number - 1)
            versions = bench.await_version(number)
    base, first, second, third = versions
    assert base.reference == ""
    for version, reference in ((first, base), (second, base), (third, first)):
        name = f"{bench.policy}@{reference.version} {reference.weights_hash}"
        assert version.reference == name
    assert third.metrics["reference_kl"] > 0.0
