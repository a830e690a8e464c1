"""One training step on the device against the same on the CPU in fp32, by both kinds of mask."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from benchmarks.device.book import tell
from benchmarks.device.models import SMALL, TINY, Mask, Shape, make_batch, make_policy
from benchmarks.device.options import PartOptions, attempt, part_options
from torch import Tensor

from headrace.kernels import linear_logp
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch
from headrace.trainer.measures import StepResult
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.policy import Policy
from headrace.trainer.step import TrainStep

CPU = torch.device("cpu")


class _Seen(MasterOptimizer):
    """Keeps the gradients of a step, before they are clipped."""

    def move(self, norm: Tensor, rate: float = 1.0) -> None:
        self.seen = {
            name: master.grad.double().cpu()
            for name, master in self.masters.items()
            if master.grad is not None
        }
        super().move(norm, rate)


@dataclass(kw_only=True, slots=True, frozen=True)
class Taken:
    """A step that was taken."""

    result: StepResult
    gradients: dict[str, Tensor]


def main() -> int:
    """Writes how far each step is from the CPU's; 1 if one failed."""
    options = part_options("benchmarks.device.step")
    # A CPU has no more of FlexAttention than its forward pass, and compiles it for minutes.
    stance = torch.compiler.set_stance("force_eager") if options.rehearse else nullcontext()
    with stance:
        return _run(options)


def _run(options: PartOptions) -> int:
    shape = TINY if options.rehearse else SMALL
    size = 6 if options.rehearse else 96
    batch = make_batch(
        shape, budget=20 * size, rows=16, prompt=4 * size, sampled=2 * size, shared=3 * size
    )
    reference = _policy(shape, CPU, torch.float32, "sdpa", None)
    weights = {name: value.detach().clone() for name, value in reference.parameters().items()}
    batch = on_policy(reference, batch)
    expected = take(reference, batch)
    failed = False
    for dtype in (torch.float32, torch.bfloat16):
        for mask in ("sdpa", "flex_attention"):
            made = partial(_policy, shape, options.device, dtype, mask, weights)
            if options.rehearse and mask == "flex_attention":
                case = partial(_forward, made, batch)
            else:
                case = partial(_compared, made, batch, expected)
            values = attempt(case)
            failed |= "failed" in values
            tell(options.lines, f"{options.device} {dtype} {mask}".replace("torch.", ""), **values)
    return int(failed)


def take(policy: Policy, batch: Batch) -> Taken:
    """One step with default settings."""
    optimizer = _Seen(policy, OptimizerConfig(lr=1e-4))
    result = TrainStep(policy, optimizer).run(batch, AlgorithmConfig(), version=0)
    return Taken(result=result, gradients=optimizer.seen)


@torch.no_grad()
def on_policy(policy: Policy, batch: Batch) -> Batch:
    """The batch as the policy would have sampled it, a little off: no row is near a clip's bound,
    where rounding would decide."""
    rows = list(batch.rows)
    for pack in batch.packs:
        sizes = [rows[index].sampled_ids.size for index in pack.rows]
        targets = np.concatenate([rows[index].sampled_ids for index in pack.rows])
        hidden = policy.hidden_states(pack)[torch.from_numpy(pack.sources)]
        logp = linear_logp(hidden, policy.head, torch.from_numpy(targets.astype(np.int64))).logp
        for index, part in zip(pack.rows, torch.split(logp, sizes), strict=True):
            rows[index] = replace(rows[index], behaviour_logp=part.numpy() - np.float32(0.05))
    return replace(batch, rows=tuple(rows))


def _policy(
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    mask: Mask,
    weights: dict[str, Tensor] | None,
) -> Policy:
    policy = make_policy(shape, device, dtype=dtype, attention=mask)
    with torch.no_grad():
        for name, value in (weights or {}).items():  # devices draw differently
            policy.parameters()[name].copy_(value)
    return policy


def _compared(made: partial[Policy], batch: Batch, expected: Taken) -> dict[str, float]:
    taken = take(made(), batch)
    difference = sum(
        float((taken.gradients[name] - value).square().sum())
        for name, value in expected.gradients.items()
    )
    whole = sum(float(value.square().sum()) for value in expected.gradients.values())
    return {
        "loss": taken.result.loss,
        "loss_difference": abs(taken.result.loss - expected.result.loss),
        "gradient_error": (difference / whole) ** 0.5,
        "entropy_difference": abs(taken.result.entropy - expected.result.entropy),
        "kl_k3_difference": abs(taken.result.kl_k3 - expected.result.kl_k3),
    }


@torch.no_grad()
def _forward(made: partial[Policy], batch: Batch) -> dict[str, float]:
    shape, device, dtype, _, weights = made.args
    flex, dense = made(), _policy(shape, device, dtype, "sdpa", weights)
    pairs = [(flex.hidden_states(p), dense.hidden_states(p)) for p in batch.packs]
    error = sum(float((a.float() - b.float()).square().sum()) for a, b in pairs)
    whole = sum(float(b.float().square().sum()) for _, b in pairs)
    return {"hidden_state_error": (error / whole) ** 0.5}


if __name__ == "__main__":
    sys.exit(main())
