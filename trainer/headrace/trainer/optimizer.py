"""AdamW on fp32 masters; the policy's parameters are their bf16 image."""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.policy import PUBLISHED_DTYPE

MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(kw_only=True, slots=True, frozen=True)
class OptimizerConfig:
    """AdamW (arXiv 1711.05101) with clipping by the global norm."""

    lr: float = 1e-5
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.lr < math.inf:
            raise ValueError(f"lr is {self.lr}: it must be above 0")
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas are {self.betas}: both must lie in [0, 1)")
        if self.eps <= 0.0:
            raise ValueError(f"eps is {self.eps}: it must be above 0")
        if self.weight_decay < 0.0:
            raise ValueError(f"weight_decay is {self.weight_decay}: it must not be negative")
        if self.max_grad_norm <= 0.0:
            raise ValueError(f"max_grad_norm is {self.max_grad_norm}: it must be above 0")


class Trained(Protocol):
    """What an optimiser moves: a policy, or a critic."""

    def parameters(self) -> dict[str, Tensor]:
        """Trained parameters by name, tied ones once."""


class MasterOptimizer:
    """Holds masters, moments and accumulated gradients, all fp32, by parameter name."""

    def __init__(self, policy: Trained, config: OptimizerConfig) -> None:
        self._parameters = policy.parameters()
        self.masters = {
            name: torch.nn.Parameter(parameter.detach().float().clone())
            for name, parameter in self._parameters.items()
        }
        self.config = config
        # Norms and biases, the vectors, are no matrix that could grow: they do not decay.
        matrices = [master for master in self.masters.values() if master.ndim > 1]
        vectors = [master for master in self.masters.values() if master.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self._adam = torch.optim.AdamW(
            groups,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def gradient_sum(self, parameter: Tensor) -> Tensor:
        """The fp32 sum of a parameter's gradients so far, for whoever adds to it directly."""
        for name, own in self._parameters.items():
            if own is parameter:
                master = self.masters[name]
                if master.grad is None:
                    master.grad = torch.zeros_like(master)
                return master.grad
        raise ValueError("the parameter is not one of the policy's")

    def accumulate(self) -> None:
        """Move the policy's gradients into the fp32 sum."""
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            master = self.masters[name]
            if master.grad is None:
                master.grad = parameter.grad.float()
            else:
                master.grad.add_(parameter.grad)
            parameter.grad = None

    def discard(self) -> None:
        """Forget every gradient."""
        self._adam.zero_grad(set_to_none=True)
        for parameter in self._parameters.values():
            parameter.grad = None

    def norm(self) -> Tensor:
        """Of the gradients' sum, fp32 and 0-d; its value is the device's to tell."""
        grads = [master.grad for master in self.masters.values() if master.grad is not None]
        return torch.nn.utils.get_total_norm(grads)

    def apply(self, rate: float = 1.0) -> float:
        """Clip, step, publish into the policy, and return the gradient norm before clipping.

        `rate` is the share of the learning rate to take. Raises NonFiniteStep, weights untouched.
        """
        norm = self.norm()
        found = float(norm)
        self.refuse_non_finite(found)
        self.move(norm, rate)
        return found

    def refuse_non_finite(self, norm: float) -> None:
        """Raises NonFiniteStep, gradients forgotten, where the gradient's norm is not finite."""
        if math.isfinite(norm):
            return
        names = self._non_finite()
        self.discard()
        raise NonFiniteStep(
            f"gradient norm is {norm}, first in {', '.join(names[:3]) or 'the sum'} "
            f"({len(names)} parameters): no step was taken. Look at the batch's advantages "
            "and ratios, or lower lr"
        )

    def move(self, norm: Tensor, rate: float = 1.0) -> None:
        """`apply` with gradients whose norm is known to be finite; waits for no device."""
        masters = list(self.masters.values())
        torch.nn.utils.clip_grads_with_norm_(masters, self.config.max_grad_norm, norm)
        for group in self._adam.param_groups:
            group["lr"] = self.config.lr * rate
        self._adam.step()
        self.discard()
        self.publish()

    @torch.no_grad()
    def publish(self) -> None:
        """Make the parameters the bf16 image of the masters."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.masters[name].to(PUBLISHED_DTYPE))

    def _non_finite(self) -> list[str]:
        return [
            name
            for name, master in self.masters.items()
            if master.grad is not None and not master.grad.isfinite().all()
        ]

    def state(self) -> dict[str, Tensor]:
        """Masters, moments and step counts, as flat names; tensors are not copied."""
        tensors = {f"master/{name}": master.detach() for name, master in self.masters.items()}
        for name, master in self.masters.items():
            for key, value in self._adam.state.get(master, {}).items():
                tensors[f"{key}/{name}"] = value
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `state` gave; the next step is bit for bit the one it would have been.

        Raises KeyError or ValueError when the tensors are not of this policy.
        """
        for name, master in self.masters.items():
            with torch.no_grad():
                master.copy_(_fitting(tensors, f"master/{name}", master))
            if f"step/{name}" not in tensors:
                continue
            moments = {key: _fitting(tensors, f"{key}/{name}", master) for key in MOMENTS}
            # A fused step counts where the parameter is.
            count = tensors[f"step/{name}"].to(master.device, copy=True)
            self._adam.state[master] = {"step": count, **moments}


def _fitting(tensors: dict[str, Tensor], key: str, like: Tensor) -> Tensor:
    value = tensors[key]
    if value.shape != like.shape:
        raise ValueError(f"{key} has shape {tuple(value.shape)}, wanted {tuple(like.shape)}")
    return value.to(like.device, copy=True)
