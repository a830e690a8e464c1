"""Liger-Kernel 0.8.5: its GRPO losses, and its cross-entropies that give a value per token."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from benchmarks.kernels.cases import Case
from benchmarks.kernels.routes import Loss, Outcome, Provider, ignoring, of_logp, peer
from torch import Tensor


def _level(case: Case) -> tuple[str, str]:
    """(importance_sampling_level, loss_type): `bnpo` is the token mean, `grpo` the sequence's."""
    return ("sequence", "grpo") if case.loss.needs_sequences else ("token", "bnpo")


def _by_sequence(case: Case) -> Tensor:
    """One advantage a sequence, contiguous: the Triton kernel reads it as such, unchecked."""
    return case.advantages[:: case.sequence].contiguous()


def fused_linear(*, tf32: bool) -> Callable[[], Loss]:
    """`LigerFusedLinearGRPOLoss`. Its products are fp32: TF32 is the caller's choice."""

    def make() -> Loss:
        module = peer("liger_kernel.chunked_loss")

        def loss(case: Case) -> Outcome:
            level, kind = _level(case)
            function = module.LigerFusedLinearGRPOLoss(
                beta=case.loss.kl_coef,
                epsilon_low=case.loss.clip_low,
                epsilon_high=case.loss.clip_high,
                loss_type=kind,
                importance_sampling_level=level,
                use_ref_model=case.loss.kl_coef > 0.0,
            )
            with _precision("high" if tf32 else "highest"):
                # Gradients are formed here, in the forward pass.
                out = function(
                    _input=case.by_sequence(case.hidden),
                    lin_weight=case.weight,
                    selected_token_ids=case.by_sequence(case.targets),
                    attention_mask=case.by_sequence(case.mask),
                    advantages=_by_sequence(case),
                    ref_per_token_logps=case.by_sequence(case.reference_logp),
                    old_per_token_logps=case.by_sequence(case.old_logp),
                )
            return Outcome(out[0])

        return loss

    return make


def on_logits() -> Loss:
    """The Triton GRPO loss on logits, with the products around it."""
    module = peer("liger_kernel.transformers.grpo_loss")

    def loss(case: Case) -> Outcome:
        level, kind = _level(case)
        hidden = case.by_sequence(case.hidden)
        # It wants logits of one more position, which it drops.
        logits = torch.cat((hidden, hidden[:, -1:]), 1) @ case.weight.t()
        value, _ = module.triton_grpo_loss(
            logits,
            case.by_sequence(case.old_logp),
            case.by_sequence(case.reference_logp),
            case.by_sequence(case.targets),
            _by_sequence(case),
            completion_mask=case.by_sequence(case.mask),
            temperature=1.0,
            beta=case.loss.kl_coef,
            eps_low=case.loss.clip_low,
            eps_high=case.loss.clip_high,
            loss_type=kind,
            importance_sampling_level=level,
            reduce=True,
        )
        return Outcome(value)

    return loss


def scaled() -> Loss:
    """The scaled cross-entropy: CuTe kernels on Hopper, 512 rows at a time in torch elsewhere."""
    # Without it every call waits for the device.
    os.environ["LIGER_SCALED_CE_SM90_VALIDATE_TARGETS"] = "0"
    module = peer("liger_kernel.ops.fused_linear_scaled_cross_entropy")
    if torch.cuda.is_available() and torch.cuda.get_device_capability() == (9, 0):
        peer("liger_kernel.ops.cutedsl.ops.fused_scaled_cross_entropy_sm90")

    def loss(case: Case) -> Outcome:
        function = module.LigerFusedLinearScaledCrossEntropyFunction
        return of_logp(case, -function.apply(case.hidden, case.weight, ignoring(case)))

    return loss


def cross_entropy() -> Loss:
    """The fused linear cross-entropy without reduction, on larger chunks than its default."""
    function = peer("liger_kernel.transformers.functional").liger_fused_linear_cross_entropy

    def loss(case: Case) -> Outcome:
        values = function(
            case.hidden,
            case.weight,
            ignoring(case),
            reduction="none",
            accum_dtype=torch.float32,
            # Of 1, the default, adding up the head's gradient takes most of the time.
            chunk_mem_const=8,
        )
        return of_logp(case, -values)

    return loss


@contextmanager
def _precision(wanted: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(wanted)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


PROVIDERS = (
    Provider(name="Liger fused linear GRPO", make=fused_linear(tf32=False)),
    Provider(name="Liger fused linear GRPO, TF32", make=fused_linear(tf32=True)),
    Provider(name="Liger Triton GRPO on logits", make=on_logits, device="triton"),
    Provider(name="Liger scaled cross-entropy", make=scaled),
    Provider(name="Liger fused linear cross-entropy", make=cross_entropy, device="triton"),
)
