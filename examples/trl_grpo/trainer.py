"""TRL's `GRPOTrainer` with its loss on the LM head taken from `headrace.kernels`.

Tested with TRL 1.16.0. Everything else is TRL's: sampling, rewards, advantages, what is logged.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

# TRL is not among headrace's own packages.
from trl import GRPOTrainer  # type: ignore[import-not-found]

from headrace.kernels import (
    KlKind,
    LossConfig,
    PolicyLoss,
    aggregation_weights,
    linear_logp,
    linear_policy_loss,
)

LOSS_TYPES = ("grpo", "bnpo", "dr_grpo", "dapo")

OnHead = Callable[[Tensor, Tensor], Any]
"""Takes the hidden states [N, H] that predict N tokens, and the LM head [V, H]."""


class LinearGRPOTrainer(GRPOTrainer):  # type: ignore[misc]  # untyped
    """`GRPOTrainer` whose loss takes one pass over the LM head, both gradients in the forward pass.

    Takes what `GRPOTrainer` takes. Raises ValueError where settings or model ask for what this
    loss does not do.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._scored: tuple[Tensor, Tensor, None] | None = None
        refuse_unfit(self)
        for model in filter(None, (self.model, self.ref_model)):
            # A PEFT model passes its arguments on to the model it holds.
            read_from_head(getattr(model, "get_base_model", lambda own=model: own)())

    def _compute_loss(self, model: nn.Module, inputs: dict[str, Any]) -> Tensor:
        ids = inputs["completion_ids"]
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        with self.accelerator.autocast():
            out: PolicyLoss = model(
                input_ids=torch.cat([inputs["prompt_ids"], ids], dim=1),
                attention_mask=torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
                last=ids.shape[1],
                on_head=functools.partial(self._loss_on_head, inputs=inputs, mask=mask),
            )
        # TRL's own code gives the value and logs its metrics, from our log-probabilities.
        with torch.no_grad(), self._knowing(out.logp.view_as(ids), out.entropy.view_as(ids)):
            value: Tensor = super()._compute_loss(model, inputs)
        return out.loss - out.loss.detach() + value

    def _loss_on_head(
        self, hidden: Tensor, head: Tensor, *, inputs: dict[str, Any], mask: Tensor
    ) -> PolicyLoss:
        """The loss of B sequences of T completion tokens; all columns are [B·T]."""

        def column(values: Tensor) -> Tensor:
            return values.expand_as(mask).reshape(-1)

        advantages = inputs["advantages"]
        advantages = advantages[:, None] if advantages.ndim == 1 else advantages
        if self.use_vllm and self.vllm_importance_sampling_correction:
            # A factor of the policy's part alone, never negative: it can be one of the advantage.
            advantages = advantages * inputs["importance_sampling_ratio"]
        # TRL gives none where the policy is still the one that sampled: the ratio is 1, and the
        # derivative that of REINFORCE.
        old = inputs.get("old_per_token_logps")
        return linear_policy_loss(
            hidden,
            head,
            inputs["completion_ids"].reshape(-1),
            advantages=column(advantages),
            behaviour_logp=column(torch.zeros_like(hidden[:1, :1]) if old is None else old),
            reference_logp=column(inputs["ref_per_token_logps"]) if self.beta else None,
            token_weights=self._token_weights(mask, inputs),
            temperature=self.temperature,
            loss=LossConfig(
                kind="reinforce" if old is None else "ppo",
                clip_low=self.epsilon_low,
                clip_high=self.epsilon_high,
                dual_clip=None if old is None else self.args.delta,
                kl_coef=self.beta,
                kl_kind=self._kl_kind(on_policy=old is None),
            ),
        )

    def _kl_kind(self, *, on_policy: bool) -> KlKind:
        if not self.args.use_bias_correction_kl:
            return "k3"
        # Its derivative is r·δ: that of k2 where r is 1 and no old policy is given.
        return "k2" if on_policy else "k3_unbiased"

    def _token_weights(self, mask: Tensor, inputs: dict[str, Any]) -> Tensor:
        """[B·T]: TRL's `loss_type`, and its share of one optimiser step. Zero outside `mask`."""
        steps = self.current_gradient_accumulation_steps if self.model.training else 1
        rows, (sequences, length) = mask.reshape(-1), mask.shape
        if self.loss_type == "grpo":
            bounds = torch.arange(0, rows.numel() + 1, length, device=rows.device)
            return aggregation_weights(
                rows, "sequence_mean", cu_seqlens=bounds, sequences=sequences * steps
            )
        if self.loss_type == "dr_grpo":
            return aggregation_weights(
                rows, "horizon", horizon=self.max_completion_length, sequences=sequences * steps
            )
        if self.loss_type == "bnpo":
            tokens = rows.sum().clamp(min=1) * steps
        else:  # dapo: `num_items_in_batch` counts the tokens of a generation, on all ranks
            tokens = inputs["num_items_in_batch"].clamp(min=1) / self.accelerator.num_processes
            if self.model.training:
                tokens = tokens * steps / self.args.steps_per_generation
        return aggregation_weights(rows, "token_mean", tokens=tokens)

    @contextmanager
    def _knowing(self, logp: Tensor, entropy: Tensor) -> Iterator[None]:
        self._scored = (logp, entropy, None)
        try:
            yield
        finally:
            self._scored = None

    def _get_per_token_logps_and_entropies(
        self,
        model: nn.Module,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor, None]:
        """Scores of the old and the reference policy, with the arithmetic of the loss."""
        if self._scored is not None:
            return self._scored
        found = []
        for start in range(0, len(input_ids), batch_size or len(input_ids)):
            part = slice(start, start + (batch_size or len(input_ids)))
            targets = input_ids[part, -logits_to_keep:].reshape(-1)
            keep = attention_mask[part, -logits_to_keep:].reshape(-1) != 0
            score = functools.partial(_score, targets=targets, keep=keep, by=self.temperature)
            with torch.no_grad(), self.accelerator.autocast():
                found.append(
                    model(
                        input_ids=input_ids[part],
                        attention_mask=attention_mask[part],
                        last=logits_to_keep,
                        on_head=score,
                    )
                )
        logp, entropy = (
            torch.cat(each).view(-1, logits_to_keep) for each in zip(*found, strict=True)
        )
        return logp, entropy, None


def _score(
    hidden: Tensor, head: Tensor, *, targets: Tensor, keep: Tensor, by: float
) -> tuple[Tensor, Tensor]:
    scores = linear_logp(hidden[keep], head, targets[keep], temperature=by)
    zeros = scores.logp.new_zeros(targets.shape)
    return zeros.masked_scatter(keep, scores.logp), zeros.masked_scatter(keep, scores.entropy)


def read_from_head(model: Any) -> None:
    """Let `model(..., last=T, on_head=f)` give f(hidden states of the last T tokens, LM head).

    It stays a call of the model's own forward, so what wraps the model (DDP, PEFT, autocast) sees
    it as any other. Raises ValueError if logits are more than hidden states times the LM head.
    """
    plain = model.forward

    @functools.wraps(type(model).forward)  # `generate` reads the signature
    def forward(
        self: Any, *args: Any, on_head: OnHead | None = None, last: int = 0, **kwargs: Any
    ) -> Any:
        if on_head is None:
            return plain(*args, **kwargs)
        hidden = self.base_model(*args, use_cache=False, **kwargs).last_hidden_state
        hidden = hidden[:, -last - 1 : -1].reshape(-1, hidden.shape[-1])  # each predicts the next
        with torch.autocast(hidden.device.type, enabled=False):
            return on_head(hidden, self.get_output_embeddings().weight.to(hidden.dtype))

    model.forward = MethodType(forward, model)
    _check_head(model)


def _check_head(model: Any) -> None:
    ids = torch.arange(3, device=model.device)[None]
    was_training = model.training
    model.eval()  # no dropout
    with torch.no_grad():
        product = model(input_ids=ids, last=2, on_head=lambda hidden, head: hidden @ head.t())
        logits = model(input_ids=ids).logits[0, :-1]
    model.train(was_training)
    tolerance = 8 * torch.finfo(product.dtype).eps
    if not (logits - product).norm() <= tolerance * logits.norm():
        raise ValueError(
            f"the logits of {type(model).__name__} are not hidden states times its LM head (a "
            "bias, a scale or a cap): use GRPOTrainer"
        )


def refuse_unfit(trainer: Any) -> None:
    """Raise ValueError where a setting asks for what one pass over the LM head cannot give."""
    args = trainer.args
    unfit = {
        f"loss_type={trainer.loss_type!r}": trainer.loss_type not in LOSS_TYPES,
        "importance_sampling_level": trainer.importance_sampling_level != "token",
        "top_entropy_quantile": trainer.top_entropy_quantile < 1.0,
        "entropy_coef or use_adaptive_entropy": trainer._entropy_bonus_enabled,
        "off_policy_mask_threshold": trainer.off_policy_mask_threshold is not None,
        "delta below 1 + epsilon_high": args.delta is not None
        and args.delta < 1 + trainer.epsilon_high,
        "cast_lm_head_to_fp32": args.cast_lm_head_to_fp32,
        "a router's auxiliary loss": trainer.aux_loss_enabled,
        "images": trainer._is_vlm,
        "DeepSpeed or FSDP": trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled,
    }
    if found := [name for name, asked in unfit.items() if asked]:
        raise ValueError(f"not with LinearGRPOTrainer: {', '.join(found)}. Use GRPOTrainer")
