"""PPO's critic: estimates by token and by turn, what it learns, and that a restart goes on."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from headrace.schemas import Credits, Member, SampleCredit
from headrace.trainer import checkpoint
from headrace.trainer.advantages import advantages_of
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.choices import Gae
from headrace.trainer.critic import Critic, CriticConfig, explained_variance
from headrace.trainer.errors import CheckpointCorrupt
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.rewards import rewards_of
from headrace.trainer.step import TrainStep

MakeRow = Callable[..., TrainingRow]


def estimates(
    rows: list[TrainingRow], values: list[list[float]], gae: Gae = "turn"
) -> tuple[list[list[float]], list[list[float]]]:
    algorithm = AlgorithmConfig.preset("ppo", gae=gae, gamma=0.99, lam=0.9, whiten=False)
    weights = algorithm.token_weights(rows)
    found = advantages_of(rows, weights, algorithm, values=[torch.tensor(v) for v in values])
    assert found.returns is not None
    return [a.tolist() for a in found.advantages], [r.tolist() for r in found.returns]


def calls(make_row: MakeRow, sizes: list[int], *, agent: str = "a") -> list[TrainingRow]:
    """An episode of calls of so many tokens, rewarded with 1 at the end."""
    rows = [
        replace(
            make_row([1], [2] * size, name=f"{agent}{turn}", episode="e"), turn=turn, agent=agent
        )
        for turn, size in enumerate(sizes)
    ]
    return [*rows[:-1], replace(rows[-1], reward=1.0)]


def test_a_turn_is_a_call_and_its_value_that_before_its_first_token(make_row: MakeRow) -> None:
    rows = calls(make_row, [2, 1, 3])
    advantages, returns = estimates(rows, [[0.2, 9.0], [0.4], [0.6, 9.0, 9.0]])
    known = [0.6864064, 0.5504, 0.4]
    for row, advantage in zip(advantages, known, strict=True):
        assert row == pytest.approx([advantage] * len(row), abs=1e-6)
    assert returns[0] == pytest.approx([known[0] + 0.2] * 2, abs=1e-6)


def test_tokens_are_steps_across_calls_and_what_is_between_is_skipped(make_row: MakeRow) -> None:
    """The same numbers with a token a step: two calls, of tokens 0 and 1 and of token 2."""
    advantages, _ = estimates(calls(make_row, [2, 1]), [[0.2, 0.4], [0.6]], "token")
    assert [*advantages[0], *advantages[1]] == pytest.approx([0.6864064, 0.5504, 0.4], abs=1e-6)


@pytest.mark.parametrize("gae", ["token", "turn"])
def test_what_was_cut_off_goes_on_at_the_value_of_its_last_state(
    make_row: MakeRow, gae: Gae
) -> None:
    (row,) = calls(make_row, [1])
    (ended,), _ = estimates([row], [[0.6]], gae)
    (cut,), _ = estimates([replace(row, truncated=True)], [[0.6]], gae)
    assert ended == pytest.approx([0.4])
    assert cut == pytest.approx([0.4 + 0.99 * 0.6])


def test_neither_other_episodes_nor_other_agents_nor_order_mix(make_row: MakeRow) -> None:
    one = calls(make_row, [1, 1, 1])
    two = [replace(row, agent="b", sample_id=f"b{row.turn}") for row in one]
    mixed = [one[2], two[0], one[0], two[2], two[1], one[1]]
    values = {0: [0.2], 1: [0.4], 2: [0.6]}
    advantages, _ = estimates(mixed, [values[row.turn] for row in mixed])
    known = {0: 0.6864064, 1: 0.5504, 2: 0.4}
    assert [a[0] for a in advantages] == pytest.approx([known[row.turn] for row in mixed], abs=1e-6)


def group(rewards: list[float | None], agents: str, reward: float = 1.0) -> Credits:
    """One member whose calls, of these agents, earned so much."""
    return Credits(
        members=[Member(rollout_id="r", attempt="a", status="used", reward=reward)],
        samples=[
            SampleCredit(sample_id=str(i), rollout_id="r", attempt="a", agent=agent, reward=earned)
            for i, (earned, agent) in enumerate(zip(rewards, agents, strict=True))
        ],
    )


def test_rewards_of_calls_reach_the_trained_calls_and_keep_their_sum() -> None:
    credits = group([0.1, 0.2, 0.3, 0.4], "aaaa")
    assert rewards_of(credits, {"0", "1", "2", "3"}) == pytest.approx(
        {"0": 0.1, "1": 0.2, "2": 0.3, "3": 0.4}
    )
    some = rewards_of(credits, {"0", "2"})  # the others are not trained
    assert some == pytest.approx({"0": 0.3, "2": 0.7})
    assert sum(some.values()) == pytest.approx(1.0)


def test_each_agent_gets_what_comes_after_its_call_from_whomever() -> None:
    found = rewards_of(group([0.0, 0.0, 1.0], "aba"), {"0", "1"})
    assert found == {"0": 1.0, "1": 1.0}
    before = rewards_of(group([1.0, 0.0], "ab"), {"1"})
    assert before == {"1": 0.0}, "what came before its first call is no consequence of it"


def test_credits_of_before_rewards_were_told_give_the_episode_s_with_its_last_call() -> None:
    assert rewards_of(group([None, None], "aa", 0.5), {"0", "1"}) == {"0": 0.0, "1": 0.5}


def critic_of(model: Path, lr: float = 1e-2) -> Critic:
    body = Policy.load(model, compute_dtype=torch.float32)
    return Critic(body, CriticConfig(optimizer=OptimizerConfig(lr=lr)))


def ppo_step(model: Path) -> TrainStep:
    policy = Policy.load(model, compute_dtype=torch.float32)
    optimizer = MasterOptimizer(policy, OptimizerConfig(lr=1e-4))
    return TrainStep(policy, optimizer, critic=critic_of(model))


def good_and_bad(make_row: MakeRow) -> list[TrainingRow]:
    return [
        replace(make_row([1, 2, 3], [4, 5], name="a"), reward=1.0),
        replace(make_row([1, 2, 9], [7, 8, 6], name="b"), reward=-1.0),
    ]


def test_the_critic_begins_at_0_and_learns_what_states_are_worth(
    make_row: MakeRow, tiny_model: Path
) -> None:
    step = ppo_step(tiny_model)
    batch = pack_rows(good_and_bad(make_row), PackingConfig())
    algorithm = AlgorithmConfig.preset("ppo", lam=1.0)
    told = [step.run(batch, algorithm, version=version).metrics() for version in range(40)]
    assert told[0]["explained_variance"] == pytest.approx(0.0, abs=1e-6)
    assert told[-1]["explained_variance"] > 0.9
    assert told[-1]["value_loss"] < told[0]["value_loss"]


def test_a_policy_waits_while_its_critic_warms_up(make_row: MakeRow, tiny_model: Path) -> None:
    step = ppo_step(tiny_model)
    batch = pack_rows(good_and_bad(make_row), PackingConfig())
    before = {n: p.detach().clone() for n, p in step.policy.parameters().items()}
    step.run(batch, AlgorithmConfig.preset("ppo"), version=0, rate=0.0)
    assert all(torch.equal(before[n], p) for n, p in step.policy.parameters().items())
    assert step.critic is not None
    assert any(values.any() for values in step.critic.values_by_row(batch))


def test_a_step_without_the_critic_that_it_needs_is_refused(
    make_row: MakeRow, tiny_model: Path
) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    step = TrainStep(policy, MasterOptimizer(policy, OptimizerConfig()))
    batch = pack_rows(good_and_bad(make_row), PackingConfig())
    with pytest.raises(ValueError, match="critic"):
        step.run(batch, AlgorithmConfig.preset("ppo"), version=0)


def test_explained_variance_of_a_perfect_a_blind_and_a_wrong_critic() -> None:
    returns = torch.tensor([1.0, -1.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.zeros(2), returns) == 0.0
    assert explained_variance(-returns, returns) == -3.0
    assert explained_variance(torch.zeros(2), torch.ones(2)) == 0.0


def test_a_resumed_critic_goes_on_bit_for_bit(
    make_row: MakeRow, tiny_model: Path, tmp_path: Path
) -> None:
    batch = pack_rows(good_and_bad(make_row), PackingConfig())
    straight = ppo_step(tiny_model)
    straight.run(batch, AlgorithmConfig.preset("ppo"), version=0)
    assert straight.critic is not None
    saved = checkpoint.save(
        tmp_path, 1, straight.policy, straight.optimizer, straight.critic.optimizer
    )
    loaded = checkpoint.load(
        saved.path,
        saved.content_hash,
        config=straight.optimizer.config,
        model=partial(Policy.load, compute_dtype=torch.float32),
    )
    resumed = TrainStep(loaded.policy, loaded.optimizer, critic=critic_of(tiny_model))
    assert resumed.critic is not None
    assert checkpoint.load_critic(saved.path, resumed.critic.optimizer)
    for step in (straight, resumed):
        step.run(batch, AlgorithmConfig.preset("ppo"), version=1)
    for ours, theirs in (
        (straight.optimizer, resumed.optimizer),
        (straight.critic.optimizer, resumed.critic.optimizer),
    ):
        one, other = ours.state(), theirs.state()
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_critic_s_state_is_checked_and_pruned_with_the_optimiser_s(
    tiny_model: Path, tmp_path: Path
) -> None:
    step = ppo_step(tiny_model)
    assert step.critic is not None
    for version in range(3):
        saved = checkpoint.save(
            tmp_path, version, step.policy, step.optimizer, step.critic.optimizer
        )
    removed = checkpoint.prune(tmp_path, keep_optimizer=2)
    assert {path.name for path in removed} == {checkpoint.OPTIMIZER, checkpoint.CRITIC}
    pruned = removed[0].parent
    content_hash = hashlib.sha256((pruned / checkpoint.MANIFEST).read_bytes()).hexdigest()
    checkpoint.verify(pruned, content_hash, with_optimizer=False)
    assert not checkpoint.load_critic(pruned, step.critic.optimizer)
    (saved.path / checkpoint.CRITIC).write_bytes(b"damaged")
    with pytest.raises(CheckpointCorrupt, match=checkpoint.CRITIC):
        checkpoint.verify(saved.path, saved.content_hash)
