"""Samples of an older policy: what a call weighs, which calls are left out, and what is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.corrections import call_weights, kept
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.schedules import LearningRate
from headrace.trainer.step import TrainStep
from tests.trainer.formulas import HORIZON, episodes, gradients_of, ratios
from tests.trainer.test_presets import apart, rows_of

MakeRow = Callable[..., TrainingRow]
BOUNDS = torch.tensor([0, 2, 3])
"""Two calls, of two tokens and of one."""


def weighed(rho: list[float], **settings: Any) -> list[float]:
    algorithm = AlgorithmConfig.preset("grpo", **settings)
    logp = torch.tensor(rho, dtype=torch.float64).log()
    _, after = call_weights(logp, torch.zeros(3, dtype=torch.float64), BOUNDS, algorithm)
    return [round(one, 6) for one in after.tolist()]


def test_a_call_weighs_the_product_of_its_tokens_ratios_or_their_geometric_mean() -> None:
    rho = [2.0, 0.5, 3.0]
    assert weighed([2.0, 2.0, 3.0], correction="decoupled", correction_level="sequence") == [
        4,
        4,
        3,
    ]
    assert weighed(rho, correction="decoupled", correction_level="geometric") == [1, 1, 3]
    assert weighed(rho, correction="tis", correction_level="geometric") == [1, 1, 2]
    assert weighed(rho, correction="mis", correction_level="geometric") == [1, 1, 0]
    assert weighed(rho, correction="none", correction_level="sequence") == [1, 1, 1]


@pytest.mark.parametrize(
    ("reject", "bounds", "stay"),
    [
        ("none", (0.0, 0.0), [True, True, True]),
        ("geometric", (0.99, 1.01), [True, True, False]),
        ("k2", (0.0, 0.3), [True, True, False]),
        ("k3", (0.0, 0.2), [False, False, False]),
    ],
)
def test_calls_the_policy_has_moved_away_from_are_left_out(
    reject: Any, bounds: tuple[float, float], stay: list[bool]
) -> None:
    """ρ 2 and ½: geometric mean 1, mean ½log² .2402, mean k3 .25; ρ 3: 3, .6035, .9014."""
    algorithm = AlgorithmConfig.preset("grpo", reject=reject, reject_bounds=bounds)
    logp = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64).log()
    assert kept(logp, torch.zeros_like(logp), BOUNDS, algorithm).tolist() == stay


def step_of(model: Path, reference: Path | None = None, lr: float = 1e-2) -> TrainStep:
    policy = Policy.load(model, compute_dtype=torch.float32)
    other = None if reference is None else Policy.load(reference, compute_dtype=torch.float32)
    return TrainStep(policy, MasterOptimizer(policy, OptimizerConfig(lr=lr)), reference=other)


def gradients(step: TrainStep, rows: list[TrainingRow], **settings: Any) -> dict[str, torch.Tensor]:
    seen: dict[str, torch.Tensor] = {}

    def spy(norm: torch.Tensor, rate: float = 1.0) -> None:
        for name, master in step.optimizer.masters.items():
            if master.grad is not None:
                seen[name] = master.grad.clone()

    step.optimizer.move = spy  # type: ignore[method-assign]  # looks before the step
    algorithm = AlgorithmConfig.preset("grpo", horizon=HORIZON, **settings)
    step.run(pack_rows(rows, PackingConfig()), algorithm, version=3)
    return seen


def weight(row: TrainingRow, logp: torch.Tensor, how: str, level: str) -> torch.Tensor:
    rho = ratios(row, logp).detach()
    if level == "sequence":
        rho = torch.full_like(rho, float(rho.prod()))
    elif level == "geometric":
        rho = torch.full_like(rho, float(rho.log().mean().exp()))
    if how == "tis":
        return rho.clamp(max=1.2)
    if how == "mis":
        return torch.where((rho >= 0.8) & (rho <= 1.2), rho, 0.0)
    return rho if how == "decoupled" else torch.ones_like(rho)


@pytest.mark.parametrize("level", ["token", "sequence", "geometric"])
@pytest.mark.parametrize("how", ["tis", "mis", "decoupled", "none"])
def test_each_correction_has_the_gradient_of_its_formula(
    make_row: MakeRow, tiny_model: Path, how: str, level: str
) -> None:
    """Against the policy before the step: Σ w·A·logπ."""
    rows = rows_of(make_row, tiny_model)

    def loss(rows: Any, logps: Any) -> torch.Tensor:
        gains = [
            (weight(row, logp, how, level) * row.advantage * logp).sum()
            for row, logp in zip(rows, logps, strict=True)
        ]
        return -torch.stack(gains).sum() / HORIZON / len(episodes(rows))

    _, expected = gradients_of(tiny_model, rows, loss)
    found = gradients(
        step_of(tiny_model),
        rows,
        correction=how,
        correction_level=level,
        tis_cap=1.2,
        mis_bounds=(0.8, 1.2),
    )
    assert apart(found, expected) < 1e-5


@pytest.mark.parametrize(("denominator", "scale"), [("before", 1.0), ("after", 14 / 11)])
def test_what_is_rejected_stays_in_the_divisor_unless_told_otherwise(
    make_row: MakeRow, tiny_model: Path, denominator: str, scale: float
) -> None:
    rows = rows_of(make_row, tiny_model)
    first = replace(rows[0], behaviour_logp=rows[0].behaviour_logp - 3.0)  # 3 of 14 tokens
    rows = [first, *rows[1:]]
    rejecting = {"reject": "geometric", "reject_bounds": (0.5, 2.0), "denominator": denominator}
    found = gradients(step_of(tiny_model), rows, **rejecting)
    silent = gradients(step_of(tiny_model), [replace(first, advantage=0.0), *rows[1:]])
    assert apart(found, {name: grad * scale for name, grad in silent.items()}) < 1e-5


@pytest.mark.parametrize("more", [{"updates": 2}, {"correction_level": "sequence"}])
def test_a_row_that_is_not_read_was_not_rejected(
    make_row: MakeRow, tiny_model: Path, more: dict[str, Any]
) -> None:
    rows = rows_of(make_row, tiny_model)
    rows[0] = replace(rows[0], advantage=0.0)
    norms = []
    for denominator in ("before", "after"):
        algorithm = AlgorithmConfig.preset(
            "grpo", correction="tis", denominator=denominator, **more
        )
        batch = pack_rows(rows, PackingConfig(), algorithm.reads)
        result = step_of(tiny_model).run(batch, algorithm, version=3)
        assert (result.rows, result.rows_read, result.rejected) == (len(rows), len(rows) - 1, 0.0)
        norms.append(result.grad_norm)
    assert norms[0] == norms[1]


def test_a_step_tells_how_much_was_rejected(make_row: MakeRow, tiny_model: Path) -> None:
    rows = rows_of(make_row, tiny_model)
    rows[0] = replace(rows[0], behaviour_logp=rows[0].behaviour_logp - 3.0)
    algorithm = AlgorithmConfig.preset("grpo", reject="geometric", reject_bounds=(0.5, 2.0))
    result = step_of(tiny_model).run(pack_rows(rows, PackingConfig()), algorithm, version=3)
    assert result.rejected == pytest.approx(3 / 14)


def test_each_version_lag_is_measured_by_itself(make_row: MakeRow, tiny_model: Path) -> None:
    rows = rows_of(make_row, tiny_model)
    rows[1:] = [replace(row, versions=np.full_like(row.versions, 2)) for row in rows[1:]]
    algorithm = AlgorithmConfig.preset("grpo", correction="tis", tis_cap=1.05)
    result = step_of(tiny_model).run(pack_rows(rows, PackingConfig()), algorithm, version=3)
    told = result.metrics()
    assert (told["lag0_tokens"], told["lag1_tokens"]) == (3, 11)
    shifts = np.linspace(-0.5, 0.5, 14)[:3]  # behaviour minus policy
    rho = np.exp(-shifts)
    assert told["lag0_kl_k1"] == pytest.approx(shifts.mean(), abs=1e-4)
    assert told["lag0_kl_k3"] == pytest.approx((rho - 1 + shifts).mean(), abs=1e-4)
    assert told["lag0_perplexity_ratio"] == pytest.approx(np.exp(shifts.mean()), abs=1e-4)
    assert told["lag0_chi2"] == pytest.approx((rho**2).mean() - 1, abs=1e-3)
    assert told["lag0_ess"] == pytest.approx(rho.sum() ** 2 / (3 * (rho**2).sum()), abs=1e-4)
    assert told["lag0_weight"] == pytest.approx(rho.mean(), abs=1e-4)
    assert told["lag0_weight_max"] == pytest.approx(rho.max(), abs=1e-3)
    assert told["lag0_weight_capped"] == pytest.approx(1.05)
    assert told["lag0_masked"] == 0.0


def test_what_the_clip_took_is_told_by_version_lag(make_row: MakeRow, tiny_model: Path) -> None:
    rows = rows_of(make_row, tiny_model)
    far = [replace(row, behaviour_logp=row.behaviour_logp - 2.0) for row in rows[1:]]
    rows[1:] = [replace(row, versions=np.full_like(row.versions, 1), advantage=1.0) for row in far]
    batch = pack_rows(rows, PackingConfig())
    told = [
        step_of(tiny_model).run(batch, AlgorithmConfig.preset("dr_grpo", clip_high=high), version=3)
        for high in (1e6, 0.2)
    ]
    assert [one.metrics()["lag2_clipped"] for one in told] == [0.0, 1.0]


def test_k1_is_taken_from_the_reward_of_a_token_and_of_all_before_it(
    make_row: MakeRow, build_model: Callable[..., Path]
) -> None:
    model, other = build_model(), build_model(seed=1)
    rows = rows_of(make_row, model)
    reference = torch_logps(other, rows)

    def loss(rows: list[TrainingRow], logps: list[torch.Tensor]) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for place, row in enumerate(rows):
            lost = [
                -0.1 * (logps[i] - reference[i]).detach()
                for i in range(place, len(rows))
                if rows[i].episode_id == row.episode_id
            ]
            to_go = torch.cat(lost).flip(0).cumsum(0).flip(0)[: row.sampled_ids.size]
            total = total - ((row.advantage + to_go) * logps[place]).sum()
        return total / HORIZON / len(episodes(rows))

    rows = [replace(row, turn=turn) for turn, row in enumerate(rows)]
    _, expected = gradients_of(model, rows, loss)  # type: ignore[arg-type]  # lists are sequences
    settings = {"kl_coef": 0.1, "kl_kind": "k1", "correction": "none"}
    for order in (rows, rows[::-1]):
        found = gradients(step_of(model, other), order, **settings)
        assert apart(found, expected) < 1e-5


def torch_logps(model: Path, rows: list[TrainingRow]) -> list[torch.Tensor]:
    kept: list[torch.Tensor] = []

    def keep(rows: Any, logps: Any) -> torch.Tensor:
        kept.extend(logp.detach() for logp in logps)
        return torch.stack([logp.sum() for logp in logps]).sum()

    gradients_of(model, rows, keep)
    return kept


def test_further_updates_are_bounded_by_the_clip_around_the_proximal_policy(
    make_row: MakeRow, tiny_model: Path
) -> None:
    rows = [make_row([1, 2, 3], [4, 5], advantage=1.0, version=3)]
    batch = pack_rows(rows, PackingConfig())
    clipped = {}
    for updates in (1, 8):
        algorithm = AlgorithmConfig.preset("grpo", horizon=2, correction="none", updates=updates)
        step = step_of(tiny_model)
        result = step.run(batch, algorithm, version=3)
        clipped[updates] = result.clip_fraction
        # Clipping and metrics are about the policy before the step, whatever sampled.
        assert result.kl_k1 == pytest.approx(
            step_of(tiny_model).run(batch, algorithm, version=3).kl_k1
        )
    assert clipped[1] == 0.0
    assert clipped[8] > 0.0


@pytest.mark.parametrize(
    ("rate", "shares"),
    [
        (LearningRate(), {1: 1.0, 100: 1.0}),
        (LearningRate(warmup=4), {1: 0.25, 4: 1.0, 9: 1.0}),
        (
            LearningRate(schedule="linear", warmup=2, versions=12),
            {1: 0.5, 7: 0.5, 12: 0.0, 99: 0.0},
        ),
        (LearningRate(schedule="cosine", versions=10, end=0.1), {5: 0.55, 10: 0.1, 11: 0.1}),
    ],
)
def test_the_learning_rate_is_a_function_of_the_version(
    rate: LearningRate, shares: dict[int, float]
) -> None:
    assert {version: rate.share(version) for version in shares} == pytest.approx(shares)


def test_a_step_takes_its_share_of_the_rate(make_row: MakeRow, tiny_model: Path) -> None:
    batch = pack_rows(rows_of(make_row, tiny_model), PackingConfig())
    moved = []
    for rate in (1.0, 0.5):
        step = step_of(tiny_model)
        start = {n: m.detach().clone() for n, m in step.optimizer.masters.items()}
        step.run(batch, AlgorithmConfig(), version=3, rate=rate)
        name = "model.norm.weight"
        moved.append(step.optimizer.masters[name].detach() - start[name])
    assert torch.allclose(moved[0], 2 * moved[1], atol=1e-6)
