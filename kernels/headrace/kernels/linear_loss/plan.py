"""What is wanted of a call, and what comes back."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(kw_only=True, slots=True, frozen=True)
class Plan:
    """What a call is to form, and how much it may hold."""

    want_hidden: bool
    want_weight: bool
    chunk_rows: int | None
    """Rows formed at a time; None leaves it to the memory budget."""
    memory_budget: int
    """Bytes that exponents of the logits may take."""
    active_rows: int | None
    """Bound on the rows of non-zero weight; None has them counted, which stops the host."""

    @property
    def any_gradient(self) -> bool:
        return self.want_hidden or self.want_weight


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Gradients:
    """Value and gradients, formed together."""

    loss: Tensor
    logp: Tensor
    entropy: Tensor
    metrics: Tensor
    """In the order of `headrace.kernels.losses.metrics.METRICS`."""
    grad_hidden: Tensor | None
    grad_weight: Tensor | None
