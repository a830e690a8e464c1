"""Time, memory and error of a provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

import torch
from benchmarks.kernels.cases import SLICE, Case
from benchmarks.kernels.providers import Loss
from torch import Tensor

Grads = tuple[Tensor, Tensor]


@dataclass(kw_only=True, slots=True, frozen=True)
class Result:
    """Of one provider on one case."""

    provider: str
    case: str
    milliseconds: float
    """Median of forward and backward."""
    low: float
    """20th percentile."""
    high: float
    """80th percentile."""
    peak_bytes: int
    """Most memory held beyond hidden states, head and the batch's columns."""
    grad_hidden_error: float
    """Relative Frobenius error on the slice, against float64."""
    grad_weight_error: float
    loss_error: float
    repeats: bool
    """Whether a repeat is bitwise equal."""
    useful_teraflops: float
    """6·N·H·V over the time, N the rows of the mask."""


def once(loss: Loss, case: Case) -> tuple[Tensor, Grads]:
    """Value and both gradients."""
    value = loss(case)
    grad_hidden, grad_weight = torch.autograd.grad(value, (case.hidden, case.weight))
    return value.detach(), (grad_hidden, grad_weight)


def exact_slice(case: Case) -> tuple[Case, Tensor, Grads]:
    """The first learning rows as a case of their own, with float64 value and gradients."""
    rows = torch.nonzero(case.mask)[:, 0]
    # Whole sequences keep the peers' shapes; all but SLICE rows of them are masked.
    mask = torch.zeros_like(case.mask)
    mask[rows[:SLICE]] = 1.0
    part = Case(
        name=case.name,
        hidden=case.hidden,
        weight=case.weight,
        targets=case.targets,
        mask=mask,
        advantages=case.advantages,
        old_logp=case.old_logp,
        reference_logp=case.reference_logp,
        token_weights=mask / mask.sum(),
        loss=case.loss,
        entropy=case.entropy,
    )
    chosen = rows[:SLICE]
    hidden = case.hidden.detach()[chosen].double().requires_grad_()
    weight = case.weight.detach().double().requires_grad_()
    log_p = torch.log_softmax(hidden @ weight.t(), -1)
    small = Case(
        name=case.name,
        hidden=hidden,
        weight=weight,
        targets=case.targets[chosen],
        mask=mask[chosen],
        advantages=case.advantages[chosen].double(),
        old_logp=case.old_logp[chosen].double(),
        reference_logp=case.reference_logp[chosen].double(),
        token_weights=part.token_weights[chosen].double(),
        loss=case.loss,
        entropy=case.entropy,
    )
    logp = log_p.gather(1, small.targets[:, None])[:, 0]
    value = of_logp_double(small, logp)
    grad_hidden, grad_weight = torch.autograd.grad(value, (hidden, weight))
    placed = torch.zeros(case.hidden.shape, dtype=torch.float64, device=hidden.device)
    placed[chosen] = grad_hidden
    return part, value.detach(), (placed, grad_weight)


def of_logp_double(case: Case, logp: Tensor) -> Tensor:
    """`of_logp` without its cast to fp32."""
    from headrace.kernels.losses.reference import row_loss_reference

    rows = row_loss_reference(
        logp,
        advantages=case.advantages,
        behaviour_logp=case.old_logp,
        reference_logp=case.reference_logp if case.loss.kl_coef else None,
        loss=case.loss,
    )
    return (rows * case.token_weights).sum()


def interleaved(
    losses: dict[str, Loss], case: Case, *, warm_up: int = 3, repeats: int = 20
) -> dict[str, list[float]]:
    """Milliseconds of forward and backward, the providers taking turns."""
    times: dict[str, list[float]] = {name: [] for name in losses}
    for turn in range(warm_up + repeats):
        for name, loss in losses.items():
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
            stop = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
            start.record()
            grads = once(loss, case)
            stop.record()
            torch.cuda.synchronize()
            del grads
            if turn >= warm_up:
                times[name].append(start.elapsed_time(stop))
    return times


def peak_memory(loss: Loss, case: Case) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    grads = once(loss, case)
    torch.cuda.synchronize()
    del grads
    return torch.cuda.max_memory_allocated() - before


def result(
    name: str,
    loss: Loss,
    case: Case,
    label: str,
    times: Sequence[float],
    exact: tuple[Case, Tensor, Grads],
) -> Result:
    """All figures of one provider from its times."""
    part, value, grads = exact
    mine, mine_grads = once(loss, part)
    again, again_grads = once(loss, part)
    fifths = quantiles(times, n=10)
    median = sorted(times)[len(times) // 2]
    rows = int(case.mask.sum())
    flops = 6 * rows * case.hidden.shape[1] * case.weight.shape[0]
    return Result(
        provider=name,
        case=label,
        milliseconds=median,
        low=fifths[1],
        high=fifths[7],
        peak_bytes=peak_memory(loss, case),
        grad_hidden_error=_relative(mine_grads[0], grads[0]),
        grad_weight_error=_relative(mine_grads[1], grads[1]),
        loss_error=float((mine.double() - value).abs()),
        repeats=torch.equal(mine, again)
        and all(torch.equal(a, b) for a, b in zip(mine_grads, again_grads, strict=True)),
        useful_teraflops=flops / median / 1e9,
    )


def _relative(mine: Tensor, exact: Tensor) -> float:
    return float((mine.double() - exact).norm() / exact.norm())
