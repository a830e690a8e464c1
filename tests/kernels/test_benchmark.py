"""What the benchmark compares: its batches, its float64 and its check of every provider."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.kernels import cases, check
from benchmarks.kernels.exact import Exact, exact, run
from benchmarks.kernels.providers import PROVIDERS, whole_logits
from benchmarks.kernels.routes import Absent, Loss, Outcome, Provider

from headrace.kernels.linear_loss.reference import linear_policy_loss_reference

pytestmark = pytest.mark.interpreter

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
TINY = cases.Size(tokens=24, depth=16, vocabulary=61, sequence=6, dtype=torch.float32)


@pytest.fixture(scope="module")
def exacts() -> dict[str, Exact]:
    return check.references(CPU)


def case_of(loss: str, masked: float) -> cases.Case:
    case = cases.make_case(TINY, CPU)
    return cases.with_loss(cases.masked(case, masked) if masked else case, loss)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would be timed")
def test_without_a_gpu_nothing_is_timed_and_it_says_so(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.kernels.run", "--out", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no CUDA device" in run.stderr
    assert not list(tmp_path.iterdir())


def why_absent(provider: Provider) -> str | None:
    try:
        provider.ready(CPU)
    except Absent as error:
        return str(error)
    return None


def test_only_peers_are_absent_and_each_says_why() -> None:
    reasons = {name: why_absent(provider) for name, provider in PROVIDERS.items()}
    absent = {name: reason for name, reason in reasons.items() if reason is not None}
    assert all(absent.values())
    assert {PROVIDERS[name].kind for name in absent} <= {"peer"}


@pytest.mark.parametrize(
    "name",
    [name for name, one in PROVIDERS.items() if one.kind == "ours"] + ["torch, whole logits"],
)
def test_what_runs_here_computes_the_loss(name: str, exacts: dict[str, Exact]) -> None:
    found = check.check(PROVIDERS[name], CPU, exacts)
    assert found.reason is None
    assert found.errors.keys() == check.CASES.keys()
    assert max(one.worst for one in found.errors.values()) < 1e-5


def other_clip(case: cases.Case) -> Outcome:
    return whole_logits(replace(case, loss=replace(case.loss, clip_low=0.02, clip_high=0.02)))


def no_mask(case: cases.Case) -> Outcome:
    return whole_logits(cases.with_mask(case, torch.ones_like(case.mask)))


def shifted(case: cases.Case) -> Outcome:
    return whole_logits(replace(case, targets=case.targets.roll(1)))


def not_a_number(case: cases.Case) -> Outcome:
    return Outcome(whole_logits(case).loss * torch.nan)


@pytest.mark.parametrize("wrong", [other_clip, no_mask, shifted, not_a_number])
def test_another_loss_is_found_out(wrong: Loss, exacts: dict[str, Exact]) -> None:
    found = check.check(Provider(name="wrong", make=lambda: wrong), CPU, exacts)
    assert found.reason is not None
    assert "computes another loss" in found.reason


def test_a_provider_that_fails_is_absent_with_its_words(exacts: dict[str, Exact]) -> None:
    def fails(case: cases.Case) -> Outcome:
        raise AssertionError("hidden_size must be\na multiple of 128")

    found = check.check(Provider(name="fails", make=lambda: fails), CPU, exacts)
    assert found.reason == "AssertionError: hidden_size must be a multiple of 128"


@pytest.mark.parametrize(("loss", "masked"), [("dapo", 0.0), ("dapo-kl", 0.5), ("gspo", 0.5)])
def test_float64_is_that_of_the_reference(loss: str, masked: float) -> None:
    case = case_of(loss, masked)
    reference = exact(case, case.targets.shape[0])
    hidden = case.hidden.detach().double().requires_grad_()
    weight = case.weight.detach().double().requires_grad_()
    value, logp, _ = linear_policy_loss_reference(
        hidden,
        weight,
        case.targets,
        advantages=case.advantages,
        behaviour_logp=case.old_logp,
        token_weights=case.token_weights,
        reference_logp=case.reference_logp,
        cu_seqlens=case.cu_seqlens,
        loss=case.loss,
    )
    grads = torch.autograd.grad(value, (hidden, weight))
    assert reference.value == pytest.approx(float(value.detach()), rel=1e-12)
    torch.testing.assert_close(reference.logp, logp.detach()[reference.rows])
    for mine, theirs in zip((reference.grad_hidden, reference.grad_weight), grads, strict=True):
        torch.testing.assert_close(mine, theirs.float())


@pytest.mark.parametrize("loss", ["dapo", "gspo"])
def test_compacted_rows_give_the_masked_loss(loss: str) -> None:
    case = case_of(loss, 0.5)
    given = cases.compacted(case)
    assert given.mask.all()
    assert given.sequence * given.sequences == given.targets.shape[0]
    value, _, (grad_hidden, grad_weight) = run(whole_logits, case)
    other, _, (grad_rows, grad_head) = run(whole_logits, given)
    torch.testing.assert_close(value, other)
    torch.testing.assert_close(grad_hidden[case.mask != 0], grad_rows)
    torch.testing.assert_close(grad_weight, grad_head)


def test_rounding_does_not_change_which_rows_the_clip_holds() -> None:
    case = cases.make_case(replace(TINY, tokens=240), CPU)
    ratio = exact(case, 1 << 30).logp - case.old_logp
    low, high = -0.223, 0.247
    assert ((ratio - low).abs() > 0.1).all()
    assert ((ratio - high).abs() > 0.1).all()
    assert (ratio < low).any()
    assert (ratio > high).any()


@pytest.mark.parametrize("masked", [0.0, 0.5])
def test_nor_which_sequences_gspo_holds(masked: float) -> None:
    case = case_of("gspo", masked)
    reference = exact(case, 1 << 30)
    ratio = torch.zeros_like(case.mask, dtype=torch.float64)
    ratio[reference.rows] = reference.logp - case.old_logp[reference.rows]
    means = case.by_sequence(ratio).sum(1) / case.by_sequence(case.mask).sum(1)
    assert sorted(means.tolist()) == pytest.approx([-0.05, -0.05, 0.05, 0.05], abs=1e-5)


def test_logits_are_as_uncertain_as_asked() -> None:
    assert cases.make_case(TINY, CPU).entropy == pytest.approx(cases.ENTROPY, rel=0.05)
