"""Time and memory of providers on a GPU, taking turns."""

from dataclasses import dataclass
from statistics import median, quantiles

import torch
from benchmarks.kernels.cases import Case
from benchmarks.kernels.check import describe
from benchmarks.kernels.exact import run
from benchmarks.kernels.routes import Loss

FLUSH_BYTES = 256 << 20
"""Written before each timing: more than any cache, so that nobody finds its inputs in it."""
BUSY_CYCLES = 2_000_000
"""The device waits this long first, about a millisecond: launches are queued, as in training."""
SLOW_MILLISECONDS = 400.0
"""A provider as slow as that may be timed less often, where the time on the device is short."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Memory:
    """Bytes beyond hidden states, head and the batch's columns."""

    peak: int
    """Most, over forward and backward, both gradients included."""
    saved: int
    """Held between forward and backward."""


def memory(loss: Loss, case: Case) -> Memory:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    out = loss(case)
    saved = torch.cuda.memory_allocated() - before
    grads = torch.autograd.grad(out.loss, (case.hidden, case.weight))
    torch.cuda.synchronize()
    del grads, out
    return Memory(peak=torch.cuda.max_memory_allocated() - before, saved=saved)


def repeats(loss: Loss, case: Case) -> bool:
    """Whether a repeat is bitwise equal."""
    first, _, grads = run(loss, case)
    again, _, grads_again = run(loss, case)
    return torch.equal(first, again) and all(
        torch.equal(a, b) for a, b in zip(grads, grads_again, strict=True)
    )


class Turns:
    """Times forward and backward of providers in turns, each from the same state of the caches.

    slow_turns: most timings of a provider that takes SLOW_MILLISECONDS; None for no bound.
    """

    def __init__(
        self, losses: dict[str, Loss], case: Case, *, slow_turns: int | None = None
    ) -> None:
        self.losses, self.case = dict(losses), case
        self.milliseconds: dict[str, list[float]] = {name: [] for name in losses}
        self.failed: dict[str, str] = {}
        self._slow: set[str] = set()
        self._slow_turns = slow_turns
        self._flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=case.hidden.device)

    def take(self, turns: int, *, keep: bool = True) -> None:
        for _ in range(turns):
            for name, loss in list(self.losses.items()):
                if self._done(name, keep=keep):
                    continue
                try:
                    spent = self._one(loss)
                except Exception as error:  # out of memory, say: the others go on
                    # In words: the exception itself would keep its tensors.
                    self.failed[name] = describe(error)
                    del self.losses[name], self.milliseconds[name]
                    torch.cuda.empty_cache()
                    continue
                if spent >= SLOW_MILLISECONDS:
                    self._slow.add(name)
                if keep:
                    self.milliseconds[name].append(spent)

    def _done(self, name: str, *, keep: bool) -> bool:
        """Whether a slow provider has had its turns; one warm-up is enough for it."""
        if self._slow_turns is None or name not in self._slow:
            return False
        return not keep or len(self.milliseconds[name]) >= self._slow_turns

    def _one(self, loss: Loss) -> float:
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        stop = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        self._flush.zero_()
        torch.cuda._sleep(BUSY_CYCLES)  # type: ignore[no-untyped-call]  # torch's own
        start.record()
        out = run(loss, self.case)
        stop.record()
        torch.cuda.synchronize()
        del out
        return float(start.elapsed_time(stop))


def spread(milliseconds: list[float]) -> tuple[float, float, float]:
    """Median, 20th and 80th percentile."""
    fifths = quantiles(milliseconds, n=5, method="inclusive")
    return median(milliseconds), fifths[0], fifths[3]


def product_rate(size: int = 8192, turns: int = 20) -> float:
    """FLOP/s of the library's bf16 product of square matrices: this card's own limit."""
    left, right = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)
    times = []
    for turn in range(turns + 3):
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        stop = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's own
        start.record()
        torch.mm(left, right)
        stop.record()
        torch.cuda.synchronize()
        if turn >= 3:
            times.append(start.elapsed_time(stop))
    return float(2 * size**3 / (median(times) / 1e3))
