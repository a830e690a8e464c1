"""Inputs of the benchmark: realistic logits, whole sequences, one loss for everybody."""

from dataclasses import dataclass

import torch
from torch import Tensor

from headrace.kernels import LossConfig, aggregation_weights, linear_logp

SHAPES = {
    "smollm2-135m": (576, 49152),
    "qwen2.5-0.5b": (896, 151936),
    "qwen3-1.7b": (2048, 151936),
    "qwen2.5-7b": (3584, 152064),
    "llama-3.1-8b": (4096, 128256),
}
TOKENS = (8192, 16384, 32768)
SEQUENCE = 1024
ENTROPY = 1.0
"""Nats; random weights as they come would give ln V and hide what rounding does."""
SLICE = 512
DAPO = LossConfig(clip_low=0.2, clip_high=0.28)
DAPO_KL = LossConfig(clip_low=0.2, clip_high=0.28, kl_coef=0.04)


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Case:
    """One batch on the GPU: `sequences` of SEQUENCE tokens, one advantage each."""

    name: str
    hidden: Tensor
    weight: Tensor
    targets: Tensor
    mask: Tensor
    """fp32 [N]."""
    advantages: Tensor
    old_logp: Tensor
    reference_logp: Tensor
    token_weights: Tensor
    loss: LossConfig
    entropy: float
    """Mean over a slice, in nats."""

    @property
    def sequences(self) -> int:
        return self.hidden.shape[0] // SEQUENCE

    def by_sequence(self, values: Tensor) -> Tensor:
        """[N, …] as [sequences, SEQUENCE, …]."""
        return values.view(self.sequences, SEQUENCE, *values.shape[1:])


def make_case(name: str, tokens: int, loss: LossConfig, masked: float, seed: int = 0) -> Case:
    """bf16 hidden states and head, targets drawn from the model's own distribution."""
    depth, vocabulary = SHAPES[name]
    device = torch.device("cuda")
    g = torch.Generator(device).manual_seed(seed)
    hidden = torch.randn(tokens, depth, generator=g, device=device, dtype=torch.bfloat16)
    head = torch.randn(vocabulary, depth, generator=g, device=device)
    weight = (head * (_logit_scale(hidden[:SLICE], head) / depth**0.5)).bfloat16()
    del head
    targets = torch.cat([_draw(part, weight, g) for part in torch.split(hidden, SLICE)])
    scores = linear_logp(hidden, weight, targets, impl="torch")
    mask = torch.ones(tokens, device=device)
    if masked:
        # Prompts and tool output come in runs: the first part of every sequence.
        mask.view(-1, SEQUENCE)[:, : round(masked * SEQUENCE)] = 0.0

    def near(spread: float) -> Tensor:
        return scores.logp + spread * torch.randn(tokens, generator=g, device=device)

    by_sequence = torch.randn(tokens // SEQUENCE, generator=g, device=device)
    return Case(
        name=name,
        hidden=hidden.requires_grad_(),
        weight=weight.requires_grad_(),
        targets=targets,
        mask=mask,
        advantages=by_sequence.repeat_interleave(SEQUENCE),
        old_logp=near(0.1),
        reference_logp=near(0.1),
        token_weights=aggregation_weights(mask, "token_mean"),
        loss=loss,
        entropy=float(scores.entropy.mean()),
    )


def _logit_scale(hidden: Tensor, head: Tensor) -> float:
    """Standard deviation of logits that gives the wanted entropy, by bisection."""
    logits = hidden.float() @ head.t() / hidden.shape[1] ** 0.5
    low, high = 0.1, 50.0
    for _ in range(20):
        middle = (low + high) / 2
        log_p = torch.log_softmax(middle * logits, -1)
        entropy = float(-(log_p.exp() * log_p).sum(-1).mean())
        low, high = (middle, high) if entropy > ENTROPY else (low, middle)
    return (low + high) / 2


def _draw(hidden: Tensor, weight: Tensor, g: torch.Generator) -> Tensor:
    probability = torch.softmax((hidden @ weight.t()).float(), -1)
    return torch.multinomial(probability, 1, generator=g)[:, 0]
