"""The trainer's own step: tokens/s, MFU and memory by length of a pack, kernels and plain torch.

bf16, random weights of Qwen3-0.6B's shape. A step reads 32,768 tokens, so the optimiser's share is
the same whatever the packs; half of each row's tokens are sampled.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from unittest.mock import patch

import torch
from benchmarks.device.book import tell
from benchmarks.device.flop import step_flop
from benchmarks.device.machine import nominal_rate
from benchmarks.device.models import QWEN3_06B, TINY, Mask, Shape, make_batch, make_policy
from benchmarks.device.options import PartOptions, attempt, part_options

from headrace.kernels import linear_policy_loss
from headrace.kernels.implementation import Impl
from headrace.trainer import step as step_module
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import Batch
from headrace.trainer.optimizer import MasterOptimizer, OptimizerConfig
from headrace.trainer.step import TrainStep

TOKENS = 32_768
PACKS = (4_096, 16_384, 32_768)
ROW = 2_048
TURNS = 3
CASES: tuple[tuple[Mask, Impl, int], ...] = (
    ("flex_attention", "triton", PACKS[0]),
    ("flex_attention", "triton", PACKS[1]),
    ("flex_attention", "triton", PACKS[2]),
    ("sdpa", "triton", PACKS[0]),
    ("flex_attention", "torch", PACKS[1]),
    ("sdpa", "triton", PACKS[1]),
    ("flex_attention", "torch", PACKS[0]),
    ("flex_attention", "torch", PACKS[2]),
)
"""Mask, loss and length of a pack, the most telling first."""
REHEARSED: tuple[tuple[Mask, Impl, int], ...] = (
    ("sdpa", "triton", PACKS[0]),
    ("sdpa", "torch", PACKS[2]),
)
"""A CPU has no backward pass of the other mask."""


def main() -> int:
    """Writes one case after the other; 1 if one failed."""
    options = part_options("benchmarks.device.speed")
    shape = TINY if options.rehearse else QWEN3_06B
    scale = 1024 if options.rehearse else 1
    rate = None if options.rehearse else _rate(options)
    row = max(8, ROW // scale)
    dense = partial(make_batch, shape, prompt=row // 2, sampled=row // 2)
    failed = False
    for mask, impl, length in REHEARSED if options.rehearse else CASES:
        case = f"packs of {length:,}, {mask}, loss by {impl}"
        if options.is_over():
            tell(options.lines, case, state="left out: the time was spent")
            continue
        # A pack of n rows holds n fewer tokens: nothing is predicted from the last of each.
        batch = dense(budget=max(row, length // scale), rows=max(2, TOKENS // scale // row))
        values = attempt(partial(_timed, shape, batch, options, mask, impl, rate))
        failed |= "failed" in values
        tell(options.lines, case, **values)
    if not options.is_over():
        failed |= _shared_prompts(shape, row, options, rate)
    return int(failed)


def _shared_prompts(shape: Shape, row: int, options: PartOptions, rate: float | None) -> bool:
    """Eight rollouts that share ¾ of their prompt: time against the ratio of unique tokens."""
    length = 8 * row
    mask: Mask = "sdpa" if options.rehearse else "flex_attention"
    seconds = {}
    unique = {}
    for name, shared in (("apart", 0), ("shared", 3 * (row // 8))):
        batch = make_batch(
            shape, budget=length, rows=8, prompt=row // 2, sampled=row // 2, shared=shared
        )
        values = attempt(partial(_timed, shape, batch, options, mask, "triton", rate))
        if "failed" in values:
            tell(options.lines, f"eight rollouts, prompts {name}", **values)
            return True
        seconds[name], unique[name] = float(values["seconds"]), batch.packed_tokens
    tell(
        options.lines,
        "eight rollouts that share ¾ of their prompt",
        unique_token_ratio=unique["shared"] / unique["apart"],
        time_ratio=seconds["shared"] / seconds["apart"],
    )
    return False


def _timed(
    shape: Shape, batch: Batch, options: PartOptions, mask: Mask, impl: Impl, rate: float | None
) -> dict[str, float]:
    policy = make_policy(
        shape,
        options.device,
        dtype=torch.bfloat16,
        attention=mask,
    )
    step = TrainStep(policy, MasterOptimizer(policy, OptimizerConfig(lr=1e-6)))
    loss = partial(linear_policy_loss, impl=impl)
    with patch.object(step_module, "linear_policy_loss", loss):
        take = partial(step.run, batch, AlgorithmConfig(), version=0)
        take()  # compiles
        _reset_peak(options)
        times = [_seconds(take, options) for _ in range(1 if options.rehearse else TURNS)]
    seconds = median(times)
    flop = step_flop(shape, batch)
    out = {
        "seconds": seconds,
        "tokens_per_second": batch.packed_tokens / seconds,
        "useful_teraflops": flop / seconds / 1e12,
    }
    if not options.rehearse:
        out["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    if rate is not None:
        out["share_of_bare_product"] = flop / seconds / rate
        nominal = nominal_rate(torch.cuda.get_device_name())
        if nominal is not None:
            out["mfu"] = flop / seconds / nominal
    return out


def _seconds(take: Callable[[], object], options: PartOptions) -> float:
    begun = time.perf_counter()
    take()
    if not options.rehearse:
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _reset_peak(options: PartOptions) -> None:
    if not options.rehearse:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()


def _rate(options: PartOptions) -> float:
    from benchmarks.kernels.measure import product_rate

    rate = product_rate()
    tell(options.lines, "bare bf16 product, 8192³", teraflops=rate / 1e12)
    return rate


if __name__ == "__main__":
    sys.exit(main())
