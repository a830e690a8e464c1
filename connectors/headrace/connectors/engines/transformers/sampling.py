"""Drawing the next token of each row of a batch."""

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headrace.connectors.engines.base import SamplingParameters, TopLogprobs


def uniform(seed: int, position: int) -> float:
    """The random number in [0, 1) of one position of one request.

    A function of (seed, position) alone, so that a request draws the same numbers in any batch.
    """
    digest = hashlib.blake2b(struct.pack("<QQ", seed % 2**64, position), digest_size=8).digest()
    return float(int.from_bytes(digest, "little") >> 11) * 2.0**-53


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Drawn:
    """One token a row."""

    tokens: list[int]
    logprobs: list[float]
    distribution: Tensor
    """float32 [rows, vocabulary]: log-probabilities of what they were drawn from."""

    def most_probable(self, row: int, k: int) -> TopLogprobs:
        """The k most probable tokens of a row, descending; those of probability 0 are none."""
        values, tokens = self.distribution[row].topk(min(k, self.distribution.shape[1]))
        pairs = zip(tokens.tolist(), values.tolist(), strict=True)
        return tuple((token, value) for token, value in pairs if value > -math.inf)


def sample(
    logits: Tensor, parameters: Sequence[SamplingParameters], uniforms: Sequence[float]
) -> Drawn:
    """Draw one token a row by inverting the cumulative distribution at the row's uniform number.

    Args:
        logits: [rows, vocabulary], any floating dtype; taken to float32 first.
        parameters: one for each row.
        uniforms: one for each row, in [0, 1).

    Returns:
        Token ids, and their float32 log-probabilities in the distribution they were drawn from
        (softmax(logits) where the temperature is 0). A log-probability that is not finite means
        that the row's logits were not.
    """
    temperatures = [p.temperature if p.temperature > 0 else 1.0 for p in parameters]
    scaled = logits.float() / torch.tensor(temperatures, device=logits.device).unsqueeze(1)
    cut = [
        row
        for row, p in enumerate(parameters)
        if p.temperature > 0 and (p.top_k > 0 or p.top_p < 1 or p.min_p > 0)
    ]
    if cut:
        scaled[cut] = restrict(scaled[cut], [parameters[row] for row in cut])
    logprobs = scaled.log_softmax(-1)
    tokens = _invert(logprobs, uniforms)
    greedy = torch.tensor([p.temperature == 0 for p in parameters], device=logits.device)
    if bool(greedy.any()):
        tokens = torch.where(greedy, scaled.argmax(-1), tokens)
    chosen = logprobs.gather(1, tokens.unsqueeze(1)).squeeze(1)
    return Drawn(tokens=tokens.tolist(), logprobs=chosen.tolist(), distribution=logprobs)


def adjusted(
    logits: Tensor, parameters: Sequence[SamplingParameters], sampled: Sequence[Sequence[int]]
) -> Tensor:
    """Logits with each row's bias and penalties, as OpenAI's API defines them.

    Where no row has any they are the very tensor that was given.

    Args:
        logits: [rows, vocabulary].
        parameters: one for each row.
        sampled: the tokens that each row's completion has so far.
    """
    changed = [row for row, p in enumerate(parameters) if p.is_adjusted]
    if not changed:
        return logits
    result = logits.float().clone()
    for row in changed:
        p = parameters[row]
        if p.logit_bias:
            ids, biases = zip(*p.logit_bias, strict=True)
            bias = torch.tensor(biases, device=result.device)
            result[row].index_add_(0, torch.tensor(ids, device=result.device), bias)
        if sampled[row] and (p.frequency_penalty or p.presence_penalty):
            tokens, counts = np.unique(np.asarray(sampled[row]), return_counts=True)
            penalty = p.frequency_penalty * counts + p.presence_penalty
            index = torch.from_numpy(tokens).to(result.device)
            result[row, index] -= torch.from_numpy(penalty.astype(np.float32)).to(result.device)
    return result


def restrict(logits: Tensor, parameters: Sequence[SamplingParameters]) -> Tensor:
    """Set to -inf what min-p, then top-k and then top-p leave out.

    logits: float32 [rows, vocabulary], divided by the temperature.
    """
    ordered, order = logits.sort(stable=True, dim=-1, descending=True)
    size = logits.shape[-1]
    most = torch.tensor([p.top_k or size for p in parameters], device=logits.device).unsqueeze(1)
    nucleus = torch.tensor([p.top_p for p in parameters], device=logits.device).unsqueeze(1)
    least = torch.tensor([p.min_p for p in parameters], device=logits.device).unsqueeze(1)
    ordered = ordered.masked_fill(ordered < ordered[:, :1] + least.log(), -torch.inf)
    rank = torch.arange(size, device=logits.device)
    ordered = ordered.masked_fill(rank >= most, -torch.inf)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    # The most probable token stays whatever top_p says; top_p = 1 must not cut by rounding.
    outside = (before >= nucleus) & (rank > 0) & (nucleus < 1)
    ordered = ordered.masked_fill(outside, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ordered)


def _invert(logprobs: Tensor, uniforms: Sequence[float]) -> Tensor:
    # float64 sums: in float32 the tail of a large vocabulary is lost to rounding.
    cumulative = logprobs.exp().cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    drawn = torch.tensor(uniforms, dtype=torch.float64, device=logprobs.device) * total
    # Strictly below the total, so that a token of probability 0 is never drawn.
    target = torch.minimum(drawn, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target.unsqueeze(1), right=True).squeeze(1)
    return tokens.clamp(max=logprobs.shape[-1] - 1)
