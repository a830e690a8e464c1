"""Inputs of the benchmark: realistic logits, whole sequences, one loss for everybody."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headrace.kernels import LossConfig, aggregation_weights, linear_logp

SEQUENCE = 1024
ENTROPY = 1.0
"""Nats; random weights as they come would give ln V and hide what rounding does."""
LOSSES = {
    "dapo": LossConfig(clip_low=0.2, clip_high=0.28),
    "dapo-kl": LossConfig(clip_low=0.2, clip_high=0.28, kl_coef=0.04),
    "gspo": LossConfig(kind="gspo", clip_low=3e-4, clip_high=4e-4),
}
SAMPLE = 512
"""Rows from which the scale of the logits is found, and rows drawn at a time."""


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Case:
    """One batch: sequences of equal length, one advantage each."""

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
    sequence: int
    """Rows of each sequence."""
    entropy: float
    """Mean over the rows, in nats."""

    @property
    def sequences(self) -> int:
        return self.hidden.shape[0] // self.sequence

    @property
    def cu_seqlens(self) -> Tensor | None:
        """Bounds of the sequences, where the loss needs them."""
        if not self.loss.needs_sequences:
            return None
        return sequence_bounds(self.hidden.shape[0], self.sequence, self.hidden.device)

    def by_sequence(self, values: Tensor) -> Tensor:
        """[N, …] as [sequences, rows, …]."""
        return values.view(self.sequences, self.sequence, *values.shape[1:])


@dataclass(kw_only=True, slots=True, frozen=True)
class Size:
    """How large a batch is, and of what."""

    tokens: int
    depth: int
    vocabulary: int
    sequence: int = SEQUENCE
    dtype: torch.dtype = torch.bfloat16
    entropy: float | None = ENTROPY
    """None: the logits' standard deviation is `deviation`."""
    deviation: float = 0.0


def make_case(size: Size, device: torch.device, *, spread: bool = False, seed: int = 0) -> Case:
    """A dense batch with the DAPO loss, targets drawn from the model's own distribution.

    The ratio to the old policy keeps away from the clip's bounds, so that rounding does not change
    which rows the clip holds; with `spread` log-ratios are normal, of deviation 0.1, and it may.
    """
    g = torch.Generator(device).manual_seed(seed)
    hidden = torch.randn(size.tokens, size.depth, generator=g, device=device).to(size.dtype)
    head = torch.randn(size.vocabulary, size.depth, generator=g, device=device)
    deviation = size.deviation
    if size.entropy is not None:
        deviation = _deviation(hidden[:SAMPLE], head, size.entropy)
    weight = (head * (deviation / size.depth**0.5)).to(size.dtype)
    del head
    targets = torch.cat([_draw(part, weight, g) for part in torch.split(hidden, SAMPLE)])
    return case_of(hidden, weight, targets, sequence=size.sequence, spread=spread, g=g)


def case_of(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    sequence: int,
    g: torch.Generator,
    spread: bool = False,
) -> Case:
    """A dense batch of given hidden states, head and targets, with the DAPO loss."""
    rows, device = targets.shape[0], targets.device
    scores = linear_logp(hidden, weight, targets, impl="torch")
    noise = torch.randn(2, rows, generator=g, device=device)
    ratio = 0.1 * noise[0] if spread else _clear_of_bounds(noise[0])
    # As many up as down, in the first sequences too: the errors are taken from them.
    count = rows // sequence
    sign = 1.0 - 2.0 * (torch.arange(count, device=device) % 2)
    by_sequence = sign * (0.5 + torch.rand(count, generator=g, device=device))
    mask = torch.ones(rows, device=device)
    return Case(
        hidden=hidden.requires_grad_(),
        weight=weight.requires_grad_(),
        targets=targets,
        mask=mask,
        advantages=by_sequence.repeat_interleave(sequence),
        old_logp=scores.logp - ratio,
        reference_logp=scores.logp + 0.1 * noise[1],
        token_weights=aggregation_weights(mask, "token_mean"),
        loss=LOSSES["dapo"],
        sequence=sequence,
        entropy=float(scores.entropy.mean()),
    )


def with_loss(case: Case, name: str) -> Case:
    """The same batch with another loss of LOSSES; mask it before, not after."""
    loss = LOSSES[name]
    if loss.kind != "gspo":
        return replace(case, loss=loss)
    # Old log-probabilities that put each sequence's mean ratio clear of GSPO's narrow bounds.
    now = linear_logp(case.hidden.detach(), case.weight.detach(), case.targets, impl="torch").logp
    ratio = case.by_sequence(now - case.old_logp)
    up = torch.arange(case.sequences, device=ratio.device) // 2 % 2
    rows = case.by_sequence(case.mask)
    mean = (ratio * rows).sum(1, keepdim=True) / rows.sum(1, keepdim=True)
    ratio = ratio - mean + 0.05 * (2 * up[:, None] - 1)
    return with_mask(replace(case, loss=loss, old_logp=now - ratio.reshape(-1)), case.mask)


def masked(case: Case, share: float) -> Case:
    """Without that share of every sequence's rows: prompts and tool output come in runs."""
    mask = torch.ones_like(case.mask)
    mask.view(-1, case.sequence)[:, : round(share * case.sequence)] = 0.0
    return with_mask(case, mask)


def with_mask(case: Case, mask: Tensor) -> Case:
    """Another mask, and the token weights that belong to it."""
    bounds = sequence_bounds(mask.shape[0], case.sequence, mask.device)
    if case.loss.needs_sequences:
        weights = aggregation_weights(mask, "sequence_mean", cu_seqlens=bounds)
    else:
        weights = aggregation_weights(mask, "token_mean")
    return replace(case, mask=mask, token_weights=weights)


def compacted(case: Case) -> Case:
    """The rows of the mask alone, which must be as many in every sequence."""
    rows = torch.nonzero(case.mask)[:, 0]
    return replace(
        case,
        hidden=case.hidden.detach()[rows].requires_grad_(),
        targets=case.targets[rows],
        mask=case.mask[rows],
        advantages=case.advantages[rows],
        old_logp=case.old_logp[rows],
        reference_logp=case.reference_logp[rows],
        token_weights=case.token_weights[rows],
        sequence=rows.shape[0] // case.sequences,
    )


def sequence_bounds(rows: int, sequence: int, device: torch.device) -> Tensor:
    return torch.arange(0, rows + 1, sequence, device=device, dtype=torch.int32)


def _clear_of_bounds(noise: Tensor) -> Tensor:
    """Log-ratios of at most 0.1, and in one row of eight of 0.5: DAPO's bounds are -0.22, 0.25."""
    far = torch.arange(noise.shape[0], device=noise.device) % 8 == 0
    return torch.where(far, noise.sign() * 0.5, (0.05 * noise).clamp(-0.1, 0.1))


def _deviation(hidden: Tensor, head: Tensor, wanted: float) -> float:
    """Standard deviation of logits that gives the wanted entropy, by bisection."""
    logits = hidden.float() @ head.t() / hidden.shape[1] ** 0.5
    low, high = 0.1, 50.0
    for _ in range(20):
        middle = (low + high) / 2
        log_p = torch.log_softmax(middle * logits, -1)
        entropy = float(-(log_p.exp() * log_p).sum(-1).mean())
        low, high = (middle, high) if entropy > wanted else (low, middle)
    return (low + high) / 2


def _draw(hidden: Tensor, weight: Tensor, g: torch.Generator) -> Tensor:
    probability = torch.softmax((hidden @ weight.t()).float(), -1)
    return torch.multinomial(probability, 1, generator=g)[:, 0]
