"""Cases for the losses on an LM head, and their comparison with the float64 reference."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headrace.kernels import LossConfig, aggregation_weights, linear_policy_loss
from headrace.kernels.implementation import Impl
from headrace.kernels.linear_loss.reference import linear_policy_loss_reference

LOSSES = {
    "reinforce-tis": LossConfig(kind="reinforce", tis_cap=2.0),
    "ppo": LossConfig(clip_high=0.28, dual_clip=3.0),
    "ppo-kl": LossConfig(kl_coef=0.04),
    "ppo-k2-entropy": LossConfig(kl_coef=0.04, kl_kind="k2", entropy_coef=0.01),
    "decoupled": LossConfig(tis_cap=2.0, dual_clip=3.0, kl_coef=0.1, kl_kind="k1"),
    "ppo-unbiased-kl": LossConfig(kl_coef=0.1, kl_kind="k3_unbiased"),
    "decoupled-masked": LossConfig(mis_bounds=(0.5, 2.0)),
    "reinforce-masked": LossConfig(kind="reinforce", mis_bounds=(0.5, 2.0)),
    "cispo": LossConfig(kind="cispo", clip_low=1.0, clip_high=0.3),
    "sapo": LossConfig(kind="sapo"),
    "gspo": LossConfig(kind="gspo", clip_low=0.05, clip_high=0.08),
    "gspo-all": LossConfig(kind="gspo", clip_low=0.1, tis_cap=1.5, kl_coef=0.02, entropy_coef=0.02),
}
# Relative Frobenius error. Computation is fp32 whatever the inputs; with bf16 inputs each gradient
# is rounded to bf16 once at the end: at most the unit roundoff, 2^-8.
GRADIENT_ERROR = {torch.float32: 4e-6, torch.bfloat16: 2**-8}


@dataclass
class Case:
    hidden: Tensor
    weight: Tensor
    targets: Tensor
    columns: dict[str, Any]

    def arguments(self, loss: LossConfig) -> dict[str, Any]:
        """The keyword arguments that this loss takes."""
        decoupled = loss.correction != "none" and loss.kind != "reinforce"
        columns = {
            name: value
            for name, value in self.columns.items()
            if name != "proximal_logp" or decoupled
        }
        return {**columns, "loss": loss}


def make_case(
    n: int = 37,
    h: int = 24,
    v: int = 101,
    *,
    dtype: torch.dtype = torch.float32,
    logit_scale: float = 3.0,
    seed: int = 0,
) -> Case:
    """Realistic logits: of standard deviation `logit_scale`, targets drawn from the softmax."""
    g = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, h, generator=g)
    weight = torch.randn(v, h, generator=g) * logit_scale / h**0.5
    hidden, weight = hidden.to(dtype), weight.to(dtype)
    logits = hidden.double() @ weight.double().t()
    targets = torch.multinomial(torch.softmax(logits, -1), 1, generator=g)[:, 0]
    targets[-1] = v - 1  # the last column
    logp = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0].float()
    bounds = torch.tensor([0, n // 3, n // 3, n - n // 4, n])  # the second sequence is empty
    advantages = torch.randn(n, generator=g)
    advantages[::5] = 0.0
    mask = torch.ones(n)
    mask[1::7] = 0.0
    token_weights = mask * (0.5 + torch.rand(n, generator=g)) / n
    behaviour = logp + 0.3 * torch.randn(n, generator=g)
    return Case(
        hidden=hidden.requires_grad_(),
        weight=weight.requires_grad_(),
        targets=targets,
        columns={
            "advantages": advantages,
            "behaviour_logp": behaviour,
            "token_weights": token_weights,
            "reference_logp": logp + 0.2 * torch.randn(n, generator=g),
            "proximal_logp": behaviour + 0.2 * torch.randn(n, generator=g),
            "cu_seqlens": bounds,
        },
    )


def whole_sequences(case: Case) -> None:
    """One advantage a sequence, none in the last, and weights of the sequence mean."""
    bounds = case.columns["cu_seqlens"]
    for value, start, stop in zip((1.0, 0.5, -0.7, 0.0), bounds[:-1], bounds[1:], strict=True):
        case.columns["advantages"][start:stop] = value
    mask = case.columns["token_weights"] != 0
    case.columns["token_weights"] = aggregation_weights(mask, "sequence_mean", cu_seqlens=bounds)


def assert_matches_reference(
    case: Case,
    loss: LossConfig,
    chunk_rows: int | None = 8,
    *,
    impl: Impl = "torch",
    gradient_error: float | None = None,
    **limits: Any,
) -> None:
    arguments = case.arguments(loss)
    out = linear_policy_loss(
        case.hidden,
        case.weight,
        case.targets,
        **arguments,
        impl=impl,
        chunk_rows=chunk_rows,
        **limits,
    )
    # Double copies, so that the reference's gradients stay float64.
    hidden = case.hidden.detach().double().requires_grad_()
    weight = case.weight.detach().double().requires_grad_()
    expected, logp, entropy = linear_policy_loss_reference(
        hidden, weight, case.targets, **arguments
    )
    active = case.columns["token_weights"] != 0
    scale = max(1.0, float(logp.detach().abs().max()))
    for mine, exact, error in ((out.logp, logp, 2e-6), (out.entropy, entropy, 1e-5)):
        assert not mine[~active].any()
        torch.testing.assert_close(
            mine.double()[active], exact.detach()[active], rtol=0, atol=error * scale
        )
    torch.testing.assert_close(out.loss.double(), expected, rtol=1e-5, atol=2e-6 * scale)
    ours = torch.autograd.grad(out.loss, (case.hidden, case.weight))
    theirs = torch.autograd.grad(expected, (hidden, weight))
    bound = GRADIENT_ERROR[case.hidden.dtype] if gradient_error is None else gradient_error
    for name, mine, exact in zip(("hidden", "weight"), ours, theirs, strict=True):
        assert mine.dtype == case.hidden.dtype
        difference = float((mine.double() - exact).norm() / exact.norm().clamp(min=1e-30))
        assert difference <= bound, f"gradient of {name}: {difference:.2e}"
