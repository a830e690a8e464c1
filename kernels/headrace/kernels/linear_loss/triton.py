"""Triton kernels around the library's matrix products.

One pass (6·N·H·V operations): exp(logit - offset) of a block of rows is stored in the inputs' type;
every loss then only scales its rows, so both gradients are plain products with it. Recomputing
(8·N·H·V): log-probabilities first, then the gradient of the logits itself, a strip of the
vocabulary at a time over all rows.
"""

import torch
from torch import Tensor

from headrace.kernels.device.head import (
    SCORED_ROWS,
    exponents_buffer,
    gather,
    gradient_terms,
    offsets,
    row_scales,
    scatter_rows,
    score_rows,
    statistics,
    to_gradient,
)
from headrace.kernels.device.product import (
    Block,
    add_product,
    exponents_and_sums,
    logit_gradients,
    product,
)
from headrace.kernels.device.rows import row_slopes, row_sums
from headrace.kernels.device.segments import sequence_means
from headrace.kernels.linear_loss.plan import Gradients, Plan
from headrace.kernels.linear_loss.selection import poison_if_cut, select_rows
from headrace.kernels.losses.config import LossConfig
from headrace.kernels.losses.inputs import RowInputs
from headrace.kernels.losses.metrics import packed_metrics

LEAST_ROWS = 2048
"""Below this many rows a block, reading and writing the head's gradient costs more than
recomputing."""
LEAST_COLUMNS = 1024
"""Narrowest strip of the vocabulary."""
ROW_MULTIPLE = 128


class _Work:
    """One call: its inputs, and the outputs that its parts fill."""

    def __init__(
        self,
        hidden: Tensor,
        weight: Tensor,
        rows: RowInputs,
        loss: LossConfig,
        plan: Plan,
        main_grad: Tensor | None,
    ) -> None:
        self.hidden, self.rows, self.loss, self.plan = hidden, rows, loss, plan
        self.weight = weight if weight.stride(1) == 1 else weight.contiguous()
        self.logp = torch.zeros(hidden.shape[0], dtype=torch.float32, device=hidden.device)
        self.entropy = torch.zeros_like(self.logp)
        self.main_grad = main_grad
        self.grad_hidden: Tensor | None = None
        self.grad_weight: Tensor | None = None

    def block(self, index: Tensor) -> Block:
        """The rows at `index`; masked ones come along only where the host does not count."""
        rows = self.rows
        if self.plan.active_rows is not None:
            return gather(self.hidden, rows.targets, rows.inverse_temperature, index, rows.active)
        if index.shape[0] == self.hidden.shape[0]:  # all of them: nothing to gather
            return Block(self.hidden.contiguous(), rows.targets, rows.inverse_temperature, index)
        return gather(self.hidden, rows.targets, rows.inverse_temperature, index, None)

    def score(self, index: Tensor) -> list[Tensor]:
        """Log-probability and entropy of the rows at `index`; their log-sum-exp by blocks."""
        parts = torch.split(index, SCORED_ROWS) if index.shape[0] else ()
        return [
            score_rows(self.block(part), self.weight, self.logp, self.entropy) for part in parts
        ]

    def sequence_means(self) -> Tensor | None:
        """Mean log-ratio of each row's sequence, where the loss needs it."""
        return sequence_means(self.logp, self.rows) if self.loss.needs_sequences else None

    def slopes(self, index: Tensor) -> tuple[Tensor, Tensor]:
        return row_slopes(
            index,
            self.logp,
            self.entropy,
            self.rows,
            self.sequence_means(),
            self.loss,
        )

    def one_pass(self, index: Tensor, step: int) -> None:
        """Both gradients of the rows at `index`, `step` rows at a time."""
        if self.plan.want_hidden:
            self.grad_hidden = torch.zeros_like(self.hidden, memory_format=torch.contiguous_format)
        gradient = self._by_rows(torch.split(index, step))
        if gradient is not None:
            self.grad_weight = gradient.to(self.weight.dtype)

    def _by_rows(self, parts: tuple[Tensor, ...]) -> Tensor | None:
        """Gradients of the parts; that of the head is returned, unless a main gradient takes it."""
        gradient: Tensor | None = None
        buffer = exponents_buffer(parts[0].shape[0], self.weight.shape[0], self.weight)
        for part in parts:
            block = self.block(part)
            offset = offsets(block, self.weight, self.rows.behaviour_logp[part])
            exponents = buffer[: part.shape[0]]
            sums = exponents_and_sums(block, self.weight, offset, exponents)
            total = statistics(block, offset, sums, self.logp, self.entropy).total
            slope, outer = self.slopes(part)
            scale, scaled = self._prepare(exponents, block, total, slope, outer)
            if self.grad_hidden is not None:
                scatter_rows(product(exponents, self.weight), scale, part, self.grad_hidden)
            if scaled is None:
                continue
            if self.main_grad is not None:
                add_product(self.main_grad, exponents.t(), scaled)
            elif len(parts) == 1:
                gradient = exponents.t() @ scaled
            elif gradient is None:
                gradient = product(exponents.t(), scaled)
            else:
                add_product(gradient, exponents.t(), scaled)
        return gradient

    def recompute(self, index: Tensor, width: int) -> None:
        """Both gradients of the rows at `index`, `width` columns of the vocabulary at a time."""
        sum_hidden = self._by_columns(index, width)
        if sum_hidden is None:
            return
        rows = sum_hidden.to(self.hidden.dtype)
        if index.shape[0] == self.hidden.shape[0] and self.plan.active_rows is None:
            self.grad_hidden = rows
        else:
            self.grad_hidden = torch.zeros_like(self.hidden, memory_format=torch.contiguous_format)
            self.grad_hidden.index_copy_(0, index, rows)

    def _by_columns(self, index: Tensor, width: int) -> Tensor | None:
        """Gradient of the head, and that of the rows' hidden states in fp32 [M, H], if wanted."""
        lse = torch.cat(self.score(index))
        slope, outer = self.slopes(index)
        terms = gradient_terms(
            self.logp[index], self.entropy[index], slope, outer, self.loss.entropy_coef
        )
        block, vocabulary = self.block(index), self.weight.shape[0]
        sum_hidden = None
        if self.plan.want_hidden:
            sum_hidden = torch.zeros(block.hidden.shape, dtype=torch.float32, device=lse.device)
        if self.plan.want_weight and self.main_grad is None:
            self.grad_weight = torch.empty_like(self.weight)
        buffer = exponents_buffer(index.shape[0], min(width, vocabulary), self.weight)
        for start in range(0, vocabulary, width):
            strip = self.weight[start : start + width]
            grad = buffer[:, : strip.shape[0]]
            logit_gradients(block, strip, lse, terms, start, grad)
            if sum_hidden is not None:
                add_product(sum_hidden, grad, strip)
            if self.grad_weight is not None:
                torch.mm(grad.t(), block.hidden, out=self.grad_weight[start : start + width])
            elif self.plan.want_weight and self.main_grad is not None:
                add_product(self.main_grad[start : start + width], grad.t(), block.hidden)
        return sum_hidden

    def _prepare(
        self, exponents: Tensor, block: Block, total: Tensor, slope: Tensor, outer: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        coefficient = self.loss.entropy_coef
        to_gradient(exponents, block, self.logp, self.entropy, total, slope, coefficient)
        return row_scales(
            block,
            slope,
            outer,
            total,
            entropy=coefficient > 0.0,
            scaled=self.plan.want_weight,
        )


def gradients_triton(
    hidden: Tensor,
    weight: Tensor,
    rows: RowInputs,
    loss: LossConfig,
    plan: Plan,
    main_grad: Tensor | None,
) -> Gradients:
    """Loss, metrics and gradients after the checks of `linear_policy_loss`."""
    work = _Work(hidden, weight, rows, loss, plan, main_grad)
    chosen = select_rows(rows, loss, gradients=plan.any_gradient, active_rows=plan.active_rows)
    work.score(chosen.resting)
    if count := chosen.learning.shape[0]:
        step = rows_at_once(count, weight, loss, plan)
        if step is None:
            work.recompute(chosen.learning, columns_at_once(count, weight, plan))
        else:
            work.one_pass(chosen.learning, step)
    if plan.active_rows is not None:
        work.logp = torch.where(rows.active, work.logp, 0.0)
        work.entropy = torch.where(rows.active, work.entropy, 0.0)
    sums = row_sums(work.logp, work.entropy, rows, work.sequence_means(), loss)
    if plan.want_hidden and work.grad_hidden is None:
        work.grad_hidden = torch.zeros_like(hidden)
    if plan.want_weight and main_grad is None and work.grad_weight is None:
        work.grad_weight = torch.zeros_like(weight)
    return Gradients(
        loss=poison_if_cut(sums.loss, rows, plan.active_rows),
        logp=work.logp,
        entropy=work.entropy,
        metrics=packed_metrics(sums),
        grad_hidden=work.grad_hidden,
        grad_weight=work.grad_weight,
    )


def rows_at_once(count: int, weight: Tensor, loss: LossConfig, plan: Plan) -> int | None:
    """Rows a block of the one-pass path, or None for the recomputing path.

    A loss over sequences needs all rows in one block: slopes come after every log-probability.
    """
    most = plan.chunk_rows or plan.memory_budget // (weight.shape[0] * weight.element_size())
    if most >= count:
        return count
    if loss.needs_sequences or (plan.chunk_rows is None and most < LEAST_ROWS):
        return None
    blocks = -(-count // most)
    even = -(-count // blocks)
    return min(most, -(-even // ROW_MULTIPLE) * ROW_MULTIPLE)


def columns_at_once(count: int, weight: Tensor, plan: Plan) -> int:
    """Columns a strip of the recomputing path."""
    fitting = plan.memory_budget // (count * weight.element_size())
    return max(LEAST_COLUMNS, fitting // ROW_MULTIPLE * ROW_MULTIPLE)
