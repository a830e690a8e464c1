"""Ours, plain torch, and what others offer: each gives the loss of the same batch.

A provider is made for a case and called for a differentiable loss. A peer that cannot run says why.
"""

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.kernels.cases import SEQUENCE, Case
from torch import Tensor

from headrace.kernels import linear_policy_loss, row_loss
from headrace.kernels.device import head

Loss = Callable[[Case], Tensor]


class Absent(Exception):
    """A peer that cannot take part, and why."""


def ours(**limits: Any) -> Loss:
    """`linear_policy_loss`."""

    def loss(case: Case) -> Tensor:
        return linear_policy_loss(
            case.hidden,
            case.weight,
            case.targets,
            advantages=case.advantages,
            behaviour_logp=case.old_logp,
            token_weights=case.token_weights,
            reference_logp=case.reference_logp if case.loss.kl_coef else None,
            loss=case.loss,
            **limits,
        ).loss

    return loss


def ours_by_library() -> Loss:
    """Ours with the library's matrix product in strips in place of the fused kernel."""
    plain = ours()

    def loss(case: Case) -> Tensor:
        with patch.object(head, "tile_for", lambda *_: None):
            return plain(case)

    return loss


def of_logp(case: Case, logp: Tensor) -> Tensor:
    """The loss of log-probabilities [N], by autograd."""
    rows = row_loss(
        logp.float(),
        advantages=case.advantages,
        behaviour_logp=case.old_logp,
        reference_logp=case.reference_logp if case.loss.kl_coef else None,
        loss=case.loss,
    )
    return (rows.loss * case.token_weights).sum()


def naive(case: Case) -> Tensor:
    """bf16 logits of all rows, log-softmax in fp32, autograd."""
    logits = (case.hidden @ case.weight.t()).float()
    return of_logp(case, torch.log_softmax(logits, -1).gather(1, case.targets[:, None])[:, 0])


def compiled_naive() -> Loss:
    compiled: Loss = torch.compile(naive)
    return compiled


def bare_products(case: Case) -> Tensor:
    """No loss at all: the three matrix products, the floor of every route that keeps logits."""

    class Products(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
            logits = hidden @ weight.t()
            ctx.grads = (logits @ weight, logits.t() @ hidden)
            return logits.new_zeros(())

        @staticmethod
        def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
            grads: tuple[Tensor, ...] = ctx.grads
            return grads

    out: Tensor = Products.apply(case.hidden, case.weight)  # type: ignore[no-untyped-call]  # torch's own
    return out


def liger_chunked() -> Loss:
    """Liger's `LigerFusedLinearGRPOLoss`, which other trainers call."""
    module = _peer("liger_kernel.chunked_loss")

    def loss(case: Case) -> Tensor:
        peer = module.LigerFusedLinearGRPOLoss(
            beta=case.loss.kl_coef,
            epsilon_low=case.loss.clip_low,
            epsilon_high=case.loss.clip_high,
            loss_type="bnpo",
            use_ref_model=case.loss.kl_coef > 0.0,
        )
        # By name: the order of its arguments has changed between releases.
        out = peer(
            _input=case.by_sequence(case.hidden),
            lin_weight=case.weight,
            selected_token_ids=case.by_sequence(case.targets),
            attention_mask=case.by_sequence(case.mask),
            advantages=case.advantages[::SEQUENCE],
            ref_per_token_logps=case.by_sequence(case.reference_logp),
            old_per_token_logps=case.by_sequence(case.old_logp),
        )
        value: Tensor = out[0]
        return value

    return loss


def liger_logits() -> Loss:
    """Liger's Triton GRPO loss on logits, with the products around it."""
    module = _peer("liger_kernel.transformers.grpo_loss")

    def loss(case: Case) -> Tensor:
        logits = case.by_sequence(case.hidden) @ case.weight.t()
        # It wants one more position, which it drops.
        logits = torch.cat((logits, logits[:, -1:]), 1)
        value, _ = module.triton_grpo_loss(
            logits,
            case.by_sequence(case.old_logp),
            case.by_sequence(case.reference_logp),
            case.by_sequence(case.targets),
            case.advantages[::SEQUENCE],
            completion_mask=case.by_sequence(case.mask),
            temperature=1.0,
            beta=case.loss.kl_coef,
            eps_low=case.loss.clip_low,
            eps_high=case.loss.clip_high,
            loss_type="bnpo",
            reduce=True,
        )
        out: Tensor = value
        return out

    return loss


def liger_scaled() -> Loss:
    """Liger's scaled cross-entropy (CuTe on Hopper): per-token values, row loss by autograd."""
    module = _peer("liger_kernel.ops.fused_linear_scaled_cross_entropy")
    _peer("cutlass")

    def loss(case: Case) -> Tensor:
        function = module.LigerFusedLinearScaledCrossEntropyFunction
        out = function.apply(case.hidden, case.weight, case.targets)
        return of_logp(case, -(out[0] if isinstance(out, tuple) else out))

    return loss


def cut_cross_entropy(impl: str) -> Callable[[], Loss]:
    """Apple's cut cross-entropy, whole or with its gradient filter."""

    def make() -> Loss:
        module = _peer("cut_cross_entropy")

        def loss(case: Case) -> Tensor:
            values = module.linear_cross_entropy(
                case.hidden, case.weight, case.targets, reduction="none", impl=impl
            )
            return of_logp(case, -values)

        return loss

    return make


def verl() -> Loss:
    """verl's Triton file alone: its package would bring Ray."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise Absent("verl is not installed")
    folder = spec.submodule_search_locations[0]
    for name in ("verl", "verl.utils", "verl.utils.kernel", "verl.utils.device"):
        stub = types.ModuleType(name)
        stub.__path__ = [f"{folder}{name[4:].replace('.', '/')}"]
        sys.modules[name] = stub
    device: Any = sys.modules["verl.utils.device"]
    device.get_device_capability = torch.cuda.get_device_capability
    device.get_device_name = lambda: "cuda"
    device.is_cuda_available = True
    device.get_torch_device = lambda: torch.cuda
    module = _peer("verl.utils.kernel.linear_cross_entropy")

    def loss(case: Case) -> Tensor:
        logp, _ = module.linear_cross_entropy(case.hidden, case.weight, case.targets, 1.0, "none")
        return of_logp(case, logp)

    return loss


def quack() -> Loss:
    """QuACK gives the mean cross-entropy alone: no policy loss can be made of it."""
    _peer("quack")
    raise Absent("its linear cross-entropy gives one mean, no value per token: not an RL loss")


PROVIDERS: dict[str, Callable[[], Loss]] = {
    "headrace": lambda: ours(impl="triton"),
    "headrace, strips of the library's product": ours_by_library,
    "headrace, recomputing (256 MiB)": lambda: ours(impl="triton", memory_budget=256 << 20),
    "headrace, plain torch": lambda: ours(impl="torch"),
    "torch, whole logits": lambda: naive,
    "torch.compile, whole logits": compiled_naive,
    "three bare products (no loss)": lambda: bare_products,
    "Liger fused linear GRPO": liger_chunked,
    "Liger Triton GRPO on logits": liger_logits,
    "Liger scaled cross-entropy (CuTe)": liger_scaled,
    "cut cross-entropy (filtered)": cut_cross_entropy("cce"),
    "cut cross-entropy (exact)": cut_cross_entropy("cce_exact"),
    "verl linear cross-entropy": verl,
    "QuACK": quack,
}


def _peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a peer's import raises is why it is absent
        raise Absent(f"import {name}: {type(error).__name__}: {error}") from error
