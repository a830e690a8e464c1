"""All providers: ours, plain torch, and the peers' routes of `benchmarks.kernels.peers`."""

from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from benchmarks.kernels.cases import Case
from benchmarks.kernels.check import ON_GPU
from benchmarks.kernels.grid import MAIN_TOKENS
from benchmarks.kernels.peers import cce, liger, quack, trl, verl
from benchmarks.kernels.routes import Absent, Loss, Outcome, Provider, of_logp
from torch import Tensor

from headrace.kernels import PolicyLoss, linear_policy_loss, policy_loss

OURS = "headrace"
LOGITS = "torch, whole logits"
"""The bf16-logits route, as people write it: what error and memory are compared with."""


def ours(**limits: Any) -> Loss:
    """`linear_policy_loss`."""

    def loss(case: Case) -> Outcome:
        return _outcome(
            linear_policy_loss(case.hidden, case.weight, case.targets, **_columns(case), **limits)
        )

    return loss


def ours_on_logits() -> Loss:
    """`policy_loss` over the logits, which its gradient takes the place of."""

    def loss(case: Case) -> Outcome:
        logits = case.hidden @ case.weight.t()
        return _outcome(
            policy_loss(logits, case.targets, **_columns(case), impl="triton", inplace=True)
        )

    return loss


def _columns(case: Case) -> dict[str, Any]:
    return {
        "advantages": case.advantages,
        "behaviour_logp": case.old_logp,
        "token_weights": case.token_weights,
        "reference_logp": case.reference_logp if case.loss.kl_coef else None,
        "cu_seqlens": case.cu_seqlens,
        "loss": case.loss,
    }


def _outcome(out: PolicyLoss) -> Outcome:
    return Outcome(out.loss, out.logp)


def ours_by_library() -> Loss:
    """Ours with the library's matrix product in strips in place of the fused kernel."""
    plain = ours(impl="triton")

    def loss(case: Case) -> Outcome:
        with patch("headrace.kernels.device.product.tile_for", lambda *_: None):
            return plain(case)

    return loss


def whole_logits(case: Case) -> Outcome:
    """The model's logits of all rows, log-softmax in fp32, autograd."""
    logits = (case.hidden @ case.weight.t()).float()
    return of_logp(case, torch.log_softmax(logits, -1).gather(1, case.targets[:, None])[:, 0])


def bf16_log_softmax(case: Case) -> Outcome:
    """The same with the log-softmax in the logits' own type."""
    logits = case.hidden @ case.weight.t()
    return of_logp(case, torch.log_softmax(logits, -1).gather(1, case.targets[:, None])[:, 0])


def compiled_logits() -> Loss:
    """The same, compiled: for the check and the main size, as each size costs half a minute."""
    if not torch.cuda.is_available():
        raise Absent("torch.compile of this route is for GPUs")

    @partial(torch.compile, dynamic=False, fullgraph=True)
    def logp_of(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        logits = (hidden @ weight.t()).float()
        return torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0]

    def loss(case: Case) -> Outcome:
        rows = case.targets.shape[0]
        if rows not in (ON_GPU.tokens, MAIN_TOKENS):
            raise Absent(f"compiled for {MAIN_TOKENS} rows alone, to save time")
        return of_logp(case, logp_of(case.hidden, case.weight, case.targets))

    return loss


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        logits = hidden @ weight.t()
        ctx.grads = (logits @ weight, logits.t() @ hidden)
        return logits.new_zeros(())

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, ...]:
        grads: tuple[Tensor, ...] = ctx.grads
        return grads


def bare_products(case: Case) -> Outcome:
    """No loss at all: the three matrix products, the floor of every route that keeps logits."""
    return Outcome(_Products.apply(case.hidden, case.weight))  # type: ignore[no-untyped-call]  # torch's own


ALL = (
    Provider(name=OURS, make=lambda: ours(impl="triton"), kind="ours", device="triton"),
    Provider(
        name="headrace, strips of the library's product",
        make=ours_by_library,
        kind="ours",
        device="triton",
    ),
    Provider(
        name="headrace, in 256 MiB",
        make=lambda: ours(impl="triton", memory_budget=256 << 20),
        kind="ours",
        device="triton",
    ),
    Provider(
        name="headrace, in 64 MiB",
        make=lambda: ours(impl="triton", memory_budget=64 << 20),
        kind="ours",
        device="triton",
    ),
    Provider(name="headrace, on whole logits", make=ours_on_logits, kind="ours", device="triton"),
    Provider(name="headrace, plain torch", make=lambda: ours(impl="torch"), kind="ours"),
    Provider(name=LOGITS, make=lambda: whole_logits),
    Provider(name="torch.compile, whole logits", make=compiled_logits),
    *trl.PROVIDERS,
    *liger.PROVIDERS,
    *cce.PROVIDERS,
    *verl.PROVIDERS,
    *quack.PROVIDERS,
    Provider(name="three bare products (no loss)", make=lambda: bare_products, kind="floor"),
)
PROVIDERS = {provider.name: provider for provider in ALL}
