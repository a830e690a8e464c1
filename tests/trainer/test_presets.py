"""Each algorithm by its name: its gradient is that of its formula, and it learns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from headrace.streams.credit.method import OF_INCOMPLETE
from headrace.streams.credit.registry import BASELINES
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.choices import Algorithm
from headrace.trainer.critic import Critic, CriticConfig
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.presets import PRESETS, baselines_of
from headrace.trainer.step import TrainStep
from tests.trainer.formulas import FORMULAS, HORIZON, gradients_of, logp_of

MakeRow = Callable[..., TrainingRow]
NAMES = sorted(PRESETS)


def rows_of(make_row: MakeRow, model: Path) -> list[TrainingRow]:
    """Three episodes of one, two and three calls, near the policy on both sides of every clip."""
    rows = [
        make_row([1, 2, 3], [4, 5, 6], name="a", advantage=1.0),
        make_row([1, 2, 3], [4, 7], name="b1", episode="b", advantage=-1.0),
        make_row([1, 2, 3, 4, 7, 9], [8, 6, 4, 2], name="b2", episode="b", advantage=-1.0),
        make_row([1, 2, 9], [10], name="c1", episode="c", advantage=0.5, temperature=0.7),
        make_row([5], [11, 3], name="c2", episode="c", advantage=0.5),
        replace(make_row([5, 7], [3, 2], name="c3", episode="c", advantage=0.5), truncated=True),
    ]
    policy = Policy.load(model, compute_dtype=torch.float64)
    shifts = np.linspace(-0.5, 0.5, sum(row.sampled_ids.size for row in rows))
    rows = [replace(row, turn=turn, reward=row.advantage) for turn, row in enumerate(rows)]
    return list(_shifted(policy, rows, shifts))


@torch.no_grad()
def _shifted(
    policy: Policy, rows: Sequence[TrainingRow], shifts: np.ndarray
) -> Iterator[TrainingRow]:
    start = 0
    for row in rows:
        end = start + row.sampled_ids.size
        logp = logp_of(policy.model, row).numpy() + shifts[start:end]
        yield replace(row, behaviour_logp=logp.astype(np.float32))
        start = end


def critic_of(model: Path, name: Algorithm) -> Critic | None:
    if not PRESETS[name].critic:
        return None
    body = Policy.load(model, compute_dtype=torch.float32)
    return Critic(body, CriticConfig(optimizer=OptimizerConfig(lr=1e-3)))


def step_of(
    model: Path, rows: Sequence[TrainingRow], name: Algorithm, packing: PackingConfig | None = None
) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of one step, before clipping."""
    policy = Policy.load(model, compute_dtype=torch.float32)
    optimizer = MasterOptimizer(policy, OptimizerConfig())
    seen: dict[str, torch.Tensor] = {}

    def spy(norm: torch.Tensor, rate: float = 1.0) -> None:
        seen.update({n: m.grad.clone() for n, m in optimizer.masters.items() if m.grad is not None})

    optimizer.move = spy  # type: ignore[method-assign]  # looks before the step
    result = TrainStep(policy, optimizer, critic=critic_of(model, name)).run(
        pack_rows(rows, packing or PackingConfig()),
        AlgorithmConfig.preset(name, horizon=HORIZON),
        version=3,
    )
    return result.loss, seen


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Largest relative distance of two gradients, by parameter."""
    assert one.keys() == other.keys()
    return max(
        float((one[n].double() - other[n].double()).norm() / other[n].double().norm()) for n in one
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_the_formula(
    make_row: MakeRow, tiny_model: Path, name: Algorithm
) -> None:
    rows = rows_of(make_row, tiny_model)
    loss, gradients = step_of(tiny_model, rows, name)
    wanted, expected = gradients_of(tiny_model, rows, FORMULAS[name])
    assert loss == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert apart(gradients, expected) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_neither_packs_nor_order_change_it(
    make_row: MakeRow, tiny_model: Path, name: Algorithm
) -> None:
    rows = rows_of(make_row, tiny_model)
    _, whole = step_of(tiny_model, rows, name)
    for packing in (PackingConfig(fill=10), PackingConfig(share_prefixes=False)):
        _, other = step_of(tiny_model, rows[::-1], name, packing)
        assert apart(other, whole) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_an_episode_weighs_the_same_however_many_calls_it_makes(
    make_row: MakeRow, name: Algorithm
) -> None:
    other = make_row([1], [2] * 4, name="x")
    algorithm = AlgorithmConfig.preset(name)
    one = algorithm.token_weights([make_row([1], [2] * 6, name="a"), other])
    calls = [make_row([1], [2] * 2, name=f"a{i}", episode="a") for i in range(3)]
    three = algorithm.token_weights([*calls, other])
    assert float(sum(w.sum() for w in three[:3])) == pytest.approx(float(one[0].sum()))


@pytest.mark.parametrize("name", NAMES)
def test_what_has_no_advantage_has_no_gradient(
    make_row: MakeRow, tiny_model: Path, name: Algorithm
) -> None:
    rows = [replace(row, advantage=0.0, reward=0.0) for row in rows_of(make_row, tiny_model)]
    _, gradients = step_of(tiny_model, rows, name)
    assert all(not grad.any() for grad in gradients.values())


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_a_planted_token_likely(
    make_row: MakeRow, tiny_model: Path, name: Algorithm
) -> None:
    """One token of 48 is right; each step samples 16 answers from the policy itself."""
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    optimizer = MasterOptimizer(policy, OptimizerConfig(lr=1e-2))
    step = TrainStep(policy, optimizer, critic=critic_of(tiny_model, name))
    baseline = BASELINES.named(PRESETS[name].baseline)
    algorithm = AlgorithmConfig.preset(name, horizon=1)
    draw = np.random.default_rng(0)
    planted = 17
    assert likelihood(policy)[planted] < 0.1
    for version in range(120):
        p = likelihood(policy)
        answers = draw.choice(p.size, 16, p=p / p.sum())
        advantages = baseline((answers == planted).astype(float))
        if not advantages.any():
            continue
        rows = [
            replace(
                make_row([1, 2, 3], [token], name=str(i), advantage=advantage, version=version),
                behaviour_logp=np.log(p[[token]]).astype(np.float32),
                reward=float(token == planted),
            )
            for i, (token, advantage) in enumerate(
                zip(answers.tolist(), advantages.tolist(), strict=True)
            )
        ]
        step.run(pack_rows(rows, PackingConfig()), algorithm, version=version)
    assert likelihood(policy)[planted] > 0.9


@torch.no_grad()
def likelihood(policy: Policy) -> np.ndarray:
    """Of each next token, float64 [V]."""
    logits = policy.model(input_ids=torch.tensor([[1, 2, 3]])).logits[0, -1]
    return np.asarray(logits.double().softmax(-1).numpy())


@pytest.mark.parametrize("name", NAMES)
def test_its_baseline_is_one_that_credit_has_and_so_is_that_of_incomplete_groups(
    name: Algorithm,
) -> None:
    baseline = PRESETS[name].baseline
    assert baseline in BASELINES.plain
    assert OF_INCOMPLETE.get(baseline, baseline) in baselines_of(baseline)


def test_truncated_calls_give_nothing_and_stay_in_the_divisor(make_row: MakeRow) -> None:
    rows = [
        replace(make_row([1], [2] * 3, name="a"), truncated=True),
        make_row([1], [2], name="b"),
    ]
    cut, whole = AlgorithmConfig.preset("dapo").token_weights(rows)
    assert (cut.tolist(), whole.tolist()) == ([0.0] * 3, [0.25])


def test_gspo_clips_a_call_as_one(make_row: MakeRow) -> None:
    """rl.md §5.13: log-ratios .01, -.02, .03 are one ratio, 1.00668894."""
    ratio = np.exp(np.mean([0.01, -0.02, 0.03]))
    assert ratio == pytest.approx(1.00668894)
    loss = AlgorithmConfig.preset("gspo").loss()
    assert (loss.kind, loss.clip_low, loss.clip_high) == ("gspo", 3e-4, 4e-4)
