"""What a provider of the loss is: made for once, called for a batch, compared with float64."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from benchmarks.kernels.cases import Case
from torch import Tensor

from headrace.kernels import row_loss
from headrace.kernels.implementation import interpreted


class Outcome(NamedTuple):
    """What a route gives of a batch."""

    loss: Tensor
    """Scalar, differentiable in hidden states and head."""
    logp: Tensor | None = None
    """[N] where the route shows it; rows outside the mask hold anything."""


Loss = Callable[[Case], Outcome]


class Absent(Exception):
    """A provider that cannot take part, and why."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Provider:
    """One way to the loss."""

    name: str
    make: Callable[[], Loss]
    """Raises Absent where it cannot run."""
    kind: Literal["ours", "peer", "floor"] = "peer"
    """`floor` is no loss at all: a bound for everybody."""
    device: Literal["any", "triton", "cuda", "hopper"] = "any"
    """What its kernels need: `triton` runs in the interpreter too, `hopper` on sm_90 alone."""

    def ready(self, device: torch.device) -> Loss:
        """The loss, where it can run on the device; raises Absent where not."""
        if self.device == "hopper" and (
            device.type != "cuda" or torch.cuda.get_device_capability(device) != (9, 0)
        ):
            raise Absent("its kernels need a Hopper GPU (compute capability 9.0)")
        runs = device.type == "cuda" or (self.device == "triton" and interpreted())
        if self.device in ("triton", "cuda") and not runs:
            raise Absent("its kernels need a CUDA device")
        return self.make()


def of_logp(case: Case, logp: Tensor) -> Outcome:
    """The loss of log-probabilities [N], by autograd."""
    rows = row_loss(
        logp.float(),
        advantages=case.advantages,
        behaviour_logp=case.old_logp,
        reference_logp=case.reference_logp if case.loss.kl_coef else None,
        loss=case.loss,
        cu_seqlens=case.cu_seqlens,
        mask=case.mask != 0,
    )
    return Outcome((rows.loss * case.token_weights).sum(), logp.detach())


def ignoring(case: Case) -> Tensor:
    """Targets with -100 outside the mask, for the peers that skip such rows."""
    return torch.where(case.mask != 0, case.targets, -100)


def peer(name: str) -> Any:
    """A peer's module; raises Absent with what its import says."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a peer's import raises is why it is absent
        raise Absent(f"import {name}: {type(error).__name__}: {error}") from error
