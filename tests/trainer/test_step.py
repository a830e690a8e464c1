"""A step makes good samples likelier, says what it saw, and never steps on a broken gradient."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headrace.kernels import linear_logp
from headrace.schemas import Outcome
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.annotated import annotated
from headrace.trainer.batch import Batch, PackingConfig, TrainingRow, pack_rows
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep

MakeRow = Callable[..., TrainingRow]
CONFIG = OptimizerConfig(lr=1e-2)
ALGORITHM = AlgorithmConfig(horizon=8)


def stepper(model: Path, *, dtype: torch.dtype = torch.float32, lr: float = 1e-2) -> TrainStep:
    policy = Policy.load(model, compute_dtype=dtype)
    return TrainStep(policy, MasterOptimizer(policy, OptimizerConfig(lr=lr)))


def sampled_rows(make_row: MakeRow) -> list[TrainingRow]:
    return [
        make_row([1, 2, 3], [4, 5], name="a", advantage=1.0),
        make_row([1, 2, 3], [4, 7, 8], name="b", advantage=-1.0),
        make_row([1, 2, 9], [10], name="c", advantage=0.5, temperature=0.7),
    ]


def on_policy(policy: Policy, rows: list[TrainingRow], version: int = 3) -> list[TrainingRow]:
    """The rows with the log-probabilities that this policy gives them."""
    logp = current_logp(policy, pack_rows(rows, PackingConfig()))
    return [
        TrainingRow(
            sample_id=row.sample_id,
            episode_id=row.episode_id,
            group_id=row.group_id,
            prompt_ids=row.prompt_ids,
            sampled_ids=row.sampled_ids,
            behaviour_logp=logp[row.sample_id],
            versions=np.full(row.sampled_ids.size, version),
            advantage=row.advantage,
            temperature=row.temperature,
        )
        for row in rows
    ]


@torch.no_grad()
def current_logp(policy: Policy, batch: Batch) -> dict[str, np.ndarray]:
    out = {}
    for pack in batch.packs:
        rows = [batch.rows[i] for i in pack.rows]
        sizes = [row.sampled_ids.size for row in rows]
        targets = torch.from_numpy(np.concatenate([r.sampled_ids for r in rows]).astype(np.int64))
        temperature = torch.tensor(np.repeat([row.temperature for row in rows], sizes))
        hidden = policy.hidden_states(pack)[torch.from_numpy(pack.sources)]
        logp = linear_logp(hidden, policy.head, targets, temperature=temperature).logp.numpy()
        parts = np.split(logp, np.cumsum(sizes)[:-1])
        out.update({row.sample_id: part for row, part in zip(rows, parts, strict=True)})
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_steps_make_good_samples_likelier_and_bad_ones_less(
    make_row: MakeRow, tiny_model: Path, dtype: torch.dtype
) -> None:
    step = stepper(tiny_model, dtype=dtype)
    rows = on_policy(step.policy, sampled_rows(make_row))
    batch = pack_rows(rows, PackingConfig())
    before = current_logp(step.policy, batch)
    for version in range(3, 6):
        step.run(batch, ALGORITHM, version=version)
    after = current_logp(step.policy, batch)
    assert after["a"].sum() > before["a"].sum()
    assert after["b"].sum() < before["b"].sum()


def test_the_result_describes_the_batch(make_row: MakeRow, tiny_model: Path) -> None:
    step = stepper(tiny_model)
    rows = on_policy(step.policy, sampled_rows(make_row))
    rows[1].versions[:] = [2, 3, 3]
    result = step.run(pack_rows(rows, PackingConfig()), ALGORITHM, version=3)
    assert (result.rows, result.episodes, result.tokens) == (3, 3, 6)
    assert (result.row_tokens, result.unique_tokens) == (12, 6)
    assert result.staleness_max == 1
    assert result.staleness_mean == pytest.approx(1 / 3)
    assert result.same_version_tokens == 3
    assert result.logp_gap == pytest.approx(0.0, abs=1e-5)
    assert result.ess == pytest.approx(1.0)
    assert result.max_ratio == pytest.approx(1.0, abs=1e-4)
    assert result.clip_fraction == 0.0
    # On policy every ratio is 1: the loss is minus the advantages of all tokens, weighted.
    assert result.loss == pytest.approx(-(2 * 1.0 - 3 * 1.0 + 1 * 0.5) / (8 * 3), rel=1e-4)
    assert result.metrics()["grad_norm"] == result.grad_norm > 0


def test_a_row_of_two_versions_is_no_evidence_of_a_gap(make_row: MakeRow, tiny_model: Path) -> None:
    """Its last tokens were sampled over keys and values of the version before."""
    step = stepper(tiny_model)
    rows = on_policy(step.policy, sampled_rows(make_row))
    rows[1].versions[:] = [2, 3, 3]
    rows[1].behaviour_logp[1:] -= 0.5
    result = step.run(pack_rows(rows, PackingConfig()), ALGORITHM, version=3)
    assert result.logp_gap == pytest.approx(0.0, abs=1e-5)
    assert result.max_ratio > 1.5


def test_rows_without_gradient_are_not_read_and_change_nothing(
    make_row: MakeRow, tiny_model: Path
) -> None:
    masked = replace(make_row([7, 8], [9] * 4, name="cut", advantage=1.0), truncated=True)
    nothing = make_row([1, 2, 3], [6, 6, 6], name="average", advantage=0.0)
    weightless = make_row([5], [6, 7], name="weightless", token_weights=[0.0, 0.0])
    rows = [*sampled_rows(make_row), nothing, masked, weightless]
    algorithm = AlgorithmConfig(horizon=8, mask_truncated=True)
    read, left = stepper(tiny_model), stepper(tiny_model)
    whole = read.run(pack_rows(rows, PackingConfig()), algorithm, version=3)
    less = left.run(pack_rows(rows, PackingConfig(), algorithm.reads), algorithm, version=3)
    assert (whole.rows_read, less.rows_read, less.rows, less.episodes) == (6, 3, 6, 6)
    assert less.unique_tokens < whole.unique_tokens
    assert less.loss == pytest.approx(whole.loss, rel=1e-5)
    assert less.grad_norm == pytest.approx(whole.grad_norm, rel=1e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"whiten": True},
        {"kl_coef": 0.1},
        {"reject": "k2", "reject_bounds": (0.0, 2.0)},
        {"critic": True},
    ],
)
def test_where_every_token_counts_every_row_is_read(
    make_row: MakeRow, more: dict[str, Any]
) -> None:
    nothing = make_row([1], [2], advantage=0.0)
    assert AlgorithmConfig(horizon=8, **more).reads(nothing)
    assert not AlgorithmConfig(horizon=8).reads(nothing)


def test_where_no_row_has_a_gradient_all_are_read(make_row: MakeRow) -> None:
    rows = [make_row([1], [2], name=name, advantage=0.0) for name in "ab"]
    assert pack_rows(rows, PackingConfig(), AlgorithmConfig().reads).rows_read == 2


def test_activations_that_are_calculated_again_give_the_same_step_from_less_memory(
    make_row: MakeRow, tiny_model: Path
) -> None:
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    kept, again = stepper(tiny_model), stepper(tiny_model)
    again.policy.recompute()
    held = []
    for step in (kept, again):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(partial(noted, sizes), lambda one: one):
            step.run(batch, ALGORITHM, version=3)
        held.append(sum(sizes))
    assert held[1] < held[0] / 2
    for name, master in kept.optimizer.masters.items():
        assert torch.equal(master, again.optimizer.masters[name]), name


def noted(sizes: list[int], tensor: torch.Tensor) -> torch.Tensor:
    sizes.append(tensor.numel())
    return tensor


def test_without_same_version_tokens_there_is_no_gap(make_row: MakeRow, tiny_model: Path) -> None:
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    result = stepper(tiny_model).run(batch, ALGORITHM, version=4)
    assert result.logp_gap is None
    assert "logp_gap" not in result.metrics()


def weights_after(step: TrainStep, batch: Batch) -> dict[str, torch.Tensor]:
    step.run(batch, ALGORITHM, version=3)
    return {name: master.detach().clone() for name, master in step.optimizer.masters.items()}


def gradients(model: Path, batch: Batch) -> dict[str, torch.Tensor]:
    """What one step accumulates, before clipping."""
    step = stepper(model)
    seen: dict[str, torch.Tensor] = {}

    def spy(norm: torch.Tensor, rate: float = 1.0) -> None:
        for name, master in step.optimizer.masters.items():
            assert master.grad is not None
            seen[name] = master.grad.clone()

    step.optimizer.move = spy  # type: ignore[method-assign]  # looks before the step
    step.run(batch, ALGORITHM, version=3)
    return seen


def test_the_gradient_does_not_depend_on_how_rows_are_packed(
    make_row: MakeRow, tiny_model: Path
) -> None:
    rows = sampled_rows(make_row)
    whole = gradients(tiny_model, pack_rows(rows, PackingConfig()))
    split = gradients(tiny_model, pack_rows(rows, PackingConfig(token_budget=5)))
    plain = gradients(tiny_model, pack_rows(rows, PackingConfig(share_prefixes=False)))
    for name, expected in whole.items():
        for other in (split, plain):
            assert (other[name] - expected).norm() <= 1e-5 * expected.norm(), name


def test_the_same_step_twice_is_bitwise_equal(make_row: MakeRow, tiny_model: Path) -> None:
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    one, other = (weights_after(stepper(tiny_model), batch) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_small_steps_add_up_in_the_masters(make_row: MakeRow, tiny_model: Path) -> None:
    """A step below half a unit of bf16 must not be lost: pure bf16 weights learn nothing."""
    step = stepper(tiny_model, dtype=torch.bfloat16, lr=1e-5)
    start = {name: p.detach().clone() for name, p in step.policy.parameters().items()}
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    for version in range(3, 6):
        step.run(batch, ALGORITHM, version=version)
    name = "model.layers.0.mlp.up_proj.weight"
    moved = (step.optimizer.masters[name] - start[name].float()).abs()
    assert (moved > 0).float().mean() > 0.9
    assert torch.equal(step.policy.parameters()[name], step.optimizer.masters[name].bfloat16())


def test_kl_pulls_towards_the_reference(
    make_row: MakeRow, build_model: Callable[..., Path]
) -> None:
    model, other = build_model(), build_model(seed=1)
    policy = Policy.load(model, compute_dtype=torch.float32)
    reference = Policy.load(other, compute_dtype=torch.float32)
    step = TrainStep(policy, MasterOptimizer(policy, CONFIG), reference=reference)
    rows = [make_row([1, 2], [3, 4, 5, 6], advantage=0.0)]
    batch = pack_rows(rows, PackingConfig())
    algorithm = AlgorithmConfig(horizon=4, kl_coef=1.0)
    values = [step.run(batch, algorithm, version=3).reference_kl for _ in range(6)]
    assert values[-1] < values[0]


def test_kl_without_a_reference_is_refused(make_row: MakeRow, tiny_model: Path) -> None:
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    with pytest.raises(ValueError, match="reference"):
        stepper(tiny_model).run(batch, AlgorithmConfig(kl_coef=0.1), version=3)


def test_a_non_finite_loss_stops_the_step_and_changes_nothing(
    make_row: MakeRow, tiny_model: Path
) -> None:
    step = stepper(tiny_model)
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    name = "model.norm.weight"
    with torch.no_grad():
        step.policy.parameters()[name][0] = float("nan")
    masters = {k: v.detach().clone() for k, v in step.optimizer.masters.items()}
    with pytest.raises(NonFiniteStep, match="loss is nan"):
        step.run(batch, ALGORITHM, version=3)
    assert all(torch.equal(step.optimizer.masters[k], v) for k, v in masters.items())
    with torch.no_grad():
        step.policy.parameters()[name].copy_(masters[name])
    assert np.isfinite(step.run(batch, ALGORITHM, version=3).loss)


def test_a_non_finite_gradient_stops_the_step_and_names_the_parameter(
    make_row: MakeRow, tiny_model: Path
) -> None:
    step = stepper(tiny_model)
    name = "model.layers.1.mlp.down_proj.weight"
    handle = step.policy.parameters()[name].register_hook(  # type: ignore[no-untyped-call]
        lambda grad: grad * float("inf")
    )  # torch leaves it untyped
    masters = {k: v.detach().clone() for k, v in step.optimizer.masters.items()}
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    with pytest.raises(NonFiniteStep, match=name):
        step.run(batch, ALGORITHM, version=3)
    handle.remove()
    assert all(torch.equal(step.optimizer.masters[k], v) for k, v in masters.items())
    clean = weights_after(stepper(tiny_model), batch)
    after = weights_after(step, batch)
    assert all(torch.equal(after[k], clean[k]) for k in clean), "no trace of the bad step"


def test_gradients_are_clipped_to_the_global_norm(make_row: MakeRow, tiny_model: Path) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    optimizer = MasterOptimizer(policy, OptimizerConfig(lr=1e-2, max_grad_norm=1e-3))
    for parameter in policy.parameters().values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.accumulate()
    norm = optimizer.apply()
    assert norm == pytest.approx(sum(p.numel() for p in policy.parameters().values()) ** 0.5)
    squares = [v.sum() for k, v in optimizer.state().items() if k.startswith("exp_avg/")]
    # The first moment holds (1 - beta1) of the clipped gradient, all of whose entries are equal.
    assert float(sum(squares)) == pytest.approx(0.1 * 1e-3 / norm * norm**2, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": 0.0}, "lr"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"eps": 0.0}, "eps"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
    ],
)
def test_a_bad_optimiser_setting_is_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OptimizerConfig(**settings)  # type: ignore[arg-type]  # wrong on purpose


def test_norms_do_not_decay_and_matrices_do(make_row: MakeRow, tiny_model: Path) -> None:
    policy = Policy.load(tiny_model, compute_dtype=torch.float32)
    config = OptimizerConfig(lr=1e-3, weight_decay=0.5)
    step = TrainStep(policy, MasterOptimizer(policy, config))
    plain = stepper(tiny_model, lr=1e-3)
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    decayed, kept = (weights_after(one, batch) for one in (step, plain))
    same = {name for name, value in kept.items() if torch.equal(value, decayed[name])}
    assert same == {name for name, value in kept.items() if value.ndim == 1}


def test_a_step_says_whether_its_gradient_was_clipped(make_row: MakeRow, tiny_model: Path) -> None:
    batch = pack_rows(sampled_rows(make_row), PackingConfig())
    clipped = []
    for most in (1e-6, 1e6):
        policy = Policy.load(tiny_model, compute_dtype=torch.float32)
        optimizer = MasterOptimizer(policy, OptimizerConfig(max_grad_norm=most))
        result = TrainStep(policy, optimizer).run(batch, ALGORITHM, version=3)
        clipped.append(result.metrics()["grad_clipped"])
    assert clipped == [1.0, 0.0]


def test_a_step_tells_what_it_saw_of_each_sample(make_row: MakeRow, tiny_model: Path) -> None:
    step = stepper(tiny_model)
    batch = pack_rows(on_policy(step.policy, sampled_rows(make_row)), PackingConfig())
    logp = current_logp(step.policy, batch)
    result = step.run(batch, ALGORITHM, version=3, annotate=1.0)
    assert set(result.annotations) == {row.sample_id for row in batch.rows}
    assert "annotations" not in result.metrics()
    for sample_id, seen in result.annotations.items():
        told = np.frombuffer(seen.token_logprobs or b"", "<f4")
        np.testing.assert_allclose(told, logp[sample_id], atol=1e-5)
        # The policy is the one that sampled: nothing lies apart, and nothing is clipped.
        assert seen.logp_gap == pytest.approx(0.0, abs=1e-5)
        assert (seen.ratio_min, seen.ratio_max) == pytest.approx((1.0, 1.0), abs=1e-5)
        assert seen.clipped == 0.0
        entropies = np.frombuffer(seen.token_entropies or b"", "<f4")
        assert seen.entropy == pytest.approx(entropies.mean(), rel=1e-5)
        assert seen.token_masked == bytes(told.size)


def test_tokens_are_kept_of_a_share_of_the_samples(make_row: MakeRow, tiny_model: Path) -> None:
    step = stepper(tiny_model)
    rows = [make_row([1, 2], [4, 5], name=f"s{n}", advantage=1.0) for n in range(40)]
    batch = pack_rows(on_policy(step.policy, rows), PackingConfig())
    seen = step.run(batch, ALGORITHM, version=3, annotate=0.5).annotations
    kept = [name for name, one in seen.items() if one.token_logprobs is not None]
    assert 5 < len(kept) < 35
    assert all(
        one.token_logprobs is None
        for one in step.run(batch, ALGORITHM, version=3).annotations.values()
    )
    drawn = [Outcome(sample_id=name, outcome="trained") for name in seen]
    drawn += [Outcome(sample_id=kept[0], outcome="dropped"), Outcome(sample_id="other")]
    told = annotated(drawn, seen)
    assert [one.token_logprobs for one in told[:-2]] == [
        one.token_logprobs for one in seen.values()
    ]
    assert told[-2:] == drawn[-2:]
