"""Errors of a route against float64, on the first sequences of a batch."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from benchmarks.kernels.cases import SAMPLE, Case, with_mask
from benchmarks.kernels.routes import Loss
from torch import Tensor

from headrace.kernels.losses.reference import row_loss_reference


class Exact(NamedTuple):
    """A part of a batch, and what float64 gives of it."""

    part: Case
    """The batch with all but its first sequences masked: peers keep their shapes."""
    rows: Tensor
    """Which rows count."""
    value: float
    scale: float
    """Σ |weight · row loss|: the value itself may be near zero."""
    logp: Tensor
    """float64, of `rows`."""
    grad_hidden: Tensor
    """fp32, of `rows`; zero elsewhere."""
    grad_weight: Tensor


@dataclass(kw_only=True, slots=True, frozen=True)
class Errors:
    """Of one route on one batch."""

    loss: float
    """Relative to the sum of absolute row losses."""
    logp: float | None
    """Largest, in nats; None where the route shows no log-probabilities."""
    logp_mean: float | None
    grad_hidden: float
    """Relative Frobenius norm of the difference; rows outside the mask count, as zeros."""
    grad_weight: float

    @property
    def worst(self) -> float:
        return max(self.loss, self.grad_hidden, self.grad_weight)


def run(loss: Loss, case: Case) -> tuple[Tensor, Tensor | None, tuple[Tensor, Tensor]]:
    """Value, log-probabilities and both gradients."""
    out = loss(case)
    grad_hidden, grad_weight = torch.autograd.grad(out.loss, (case.hidden, case.weight))
    return out.loss.detach(), out.logp, (grad_hidden, grad_weight)


def exact(case: Case, rows_wanted: int) -> Exact:
    """float64 of as many whole sequences as hold `rows_wanted` rows of the mask."""
    active = case.by_sequence(case.mask != 0)
    # At least two: advantages have both signs.
    first = max(2, rows_wanted // max(1, int(active[0].sum())))
    kept = active.clone()
    kept[first:] = False
    part = with_mask(case, kept.reshape(-1).float())
    rows = torch.nonzero(part.mask)[:, 0]
    weight = case.weight.detach().double()
    logp = torch.cat([_log_softmax(part, weight, index)[0] for index in torch.split(rows, SAMPLE)])
    every = torch.zeros(part.mask.shape, dtype=torch.float64, device=logp.device)
    every[rows] = logp
    row_losses = _row_losses(part, every.requires_grad_()) * part.token_weights.double()
    slope = torch.autograd.grad(row_losses.sum(), every)[0]
    row_losses = row_losses.detach()
    grad_hidden = torch.zeros(case.hidden.shape, dtype=torch.float32, device=logp.device)
    grad_weight = torch.zeros_like(weight)
    for index in torch.split(rows, SAMPLE):
        _, log_p = _log_softmax(part, weight, index)
        grad_logits = log_p.exp_().mul_(-slope[index, None])
        at_target = part.targets[index][:, None]
        grad_logits.scatter_add_(1, at_target, slope[index][:, None])
        grad_hidden[index] = (grad_logits @ weight).float()
        grad_weight.addmm_(grad_logits.t(), case.hidden.detach()[index].double())
    return Exact(
        part=part,
        rows=rows,
        value=float(row_losses.sum()),
        scale=float(row_losses.abs().sum()),
        logp=logp,
        grad_hidden=grad_hidden,
        grad_weight=grad_weight.float(),
    )


def errors(loss: Loss, reference: Exact) -> Errors:
    """What the route makes of the part, against float64."""
    value, logp, grads = run(loss, reference.part)
    off = None if logp is None else (logp[reference.rows].double() - reference.logp).abs()
    return Errors(
        loss=abs(float(value.double()) - reference.value) / reference.scale,
        logp=None if off is None else float(off.max()),
        logp_mean=None if off is None else float(off.mean()),
        grad_hidden=_relative(grads[0], reference.grad_hidden),
        grad_weight=_relative(grads[1], reference.grad_weight),
    )


def _log_softmax(case: Case, weight: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Of the targets [M], and of all the vocabulary [M, V]."""
    log_p = torch.log_softmax(case.hidden.detach()[index].double() @ weight.t(), -1)
    return log_p.gather(1, case.targets[index][:, None])[:, 0], log_p


def _row_losses(case: Case, logp: Tensor) -> Tensor:
    return row_loss_reference(
        logp,
        advantages=case.advantages,
        behaviour_logp=case.old_logp,
        reference_logp=case.reference_logp if case.loss.kl_coef else None,
        loss=case.loss,
        cu_seqlens=case.cu_seqlens,
        mask=case.mask != 0,
    )


def _relative(mine: Tensor, exact: Tensor) -> float:
    # In fp32: a second copy of the head's gradient in float64 may not fit.
    difference = torch.linalg.vector_norm(mine.float() - exact, dtype=torch.float64)
    return float(difference / torch.linalg.vector_norm(exact, dtype=torch.float64))
