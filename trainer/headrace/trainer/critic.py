"""The critic of PPO: a body like the policy's, and one value for each hidden state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headrace.trainer.batch import Batch, Pack
from headrace.trainer.columns import by_row, of_pack
from headrace.trainer.errors import NonFiniteStep
from headrace.trainer.gather import gather_rows
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy


@dataclass(kw_only=True, slots=True, frozen=True)
class CriticConfig:
    """How the critic learns."""

    optimizer: OptimizerConfig
    clip: float = 0.2
    """A value counts no further than this from the one before the step."""
    warmup: int = 0
    """Versions in which it learns alone."""


@dataclass(kw_only=True, slots=True, frozen=True)
class CriticResult:
    """What an update of the critic saw."""

    loss: float
    explained_variance: float
    """1 - Var(return - value before the step) / Var(return): 0 for a critic that knows nothing."""
    grad_norm: float

    def metrics(self) -> dict[str, float]:
        """By name."""
        return {
            "value_loss": self.loss,
            "explained_variance": self.explained_variance,
            "critic_grad_norm": self.grad_norm,
        }


class Critic:
    """Values of the states in which tokens were sampled. Begun from a policy's weights, and from
    values of 0."""

    def __init__(self, body: Policy, config: CriticConfig) -> None:
        self.body = body
        self.config = config
        hidden = body.head.shape[1]
        self._weight = torch.nn.Parameter(body.head.detach().new_zeros(1, hidden))
        self._bias = torch.nn.Parameter(body.head.detach().new_zeros(1))
        self.optimizer = MasterOptimizer(self, config.optimizer)

    def parameters(self) -> dict[str, Tensor]:
        """Trained parameters by name: the body without an LM head of its own, and the value's."""
        decoder = self.body.decoder_parameters()
        return {**decoder, "value.weight": self._weight, "value.bias": self._bias}

    def values(self, pack: Pack) -> Tensor:
        """V of the state before each sampled token of a pack, fp32 [M]."""
        sources = torch.from_numpy(pack.sources).to(self.body.device)
        hidden = gather_rows(self.body.hidden_states(pack), sources)
        return torch.nn.functional.linear(hidden, self._weight, self._bias)[:, 0].float()

    @torch.no_grad()
    def values_by_row(self, batch: Batch) -> list[Tensor]:
        """V of the state before each sampled token, one tensor [sampled tokens] a row."""
        return by_row(batch, [self.values(pack) for pack in batch.packs])

    def update(
        self, batch: Batch, old: Sequence[Tensor], returns: Sequence[Tensor]
    ) -> CriticResult:
        """One step on mean ½·max((V - R)², (clip(V, V_old ± clip) - R)²) (arXiv 1707.06347).

        `old` and `returns`: row by row. Raises NonFiniteStep, weights untouched.
        """
        count = sum(one.numel() for one in returns)
        device, losses = self.body.device, []
        self.optimizer.discard()
        for pack in batch.packs:
            before, wanted = (of_pack(pack, each, device) for each in (old, returns))
            value = self.values(pack)
            near = before + (value - before).clamp(-self.config.clip, self.config.clip)
            worse = torch.maximum((value - wanted).square(), (near - wanted).square())
            loss = worse.sum() / (2 * count)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own
            self.optimizer.accumulate()
            losses.append(loss.detach().float())
        norm = self.optimizer.norm()
        found, *told = torch.stack([norm, *losses]).tolist()  # the one wait for the device
        if not np.isfinite(sum(told)):
            self.optimizer.discard()
            raise NonFiniteStep(f"the critic's loss is {sum(told)}")
        self.optimizer.refuse_non_finite(found)
        self.optimizer.move(norm)
        return CriticResult(
            loss=sum(told),
            explained_variance=explained_variance(torch.cat(list(old)), torch.cat(list(returns))),
            grad_norm=found,
        )


def explained_variance(values: Tensor, returns: Tensor) -> float:
    """1 - Var(returns - values) / Var(returns); 0 where the returns are all the same."""
    variance = float(returns.double().var(correction=0))
    left = float((returns - values).double().var(correction=0))
    return 1.0 - left / variance if variance > 0.0 else 0.0
