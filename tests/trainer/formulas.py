"""The algorithms as their papers write them: plain autograd in float64, row by row, no kernel."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from headrace.trainer.batch import TrainingRow

Losses = Callable[[Sequence[TrainingRow], Sequence[Tensor]], Tensor]
"""Rows and the log-probabilities of their sampled tokens to the loss of the batch."""
HORIZON = 8


def ratios(row: TrainingRow, logp: Tensor) -> Tensor:
    return (logp - torch.from_numpy(row.behaviour_logp).double()).exp()


def clipped(ratio: Tensor, advantage: Tensor | float, low: float, high: float) -> Tensor:
    """min(r·A, clip(r)·A)."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def episodes(rows: Sequence[TrainingRow]) -> list[str]:
    return sorted({row.episode_id for row in rows})


def grpo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/(G·horizon) Σ_i Σ_t min(…), at most 3·|A| lost where A < 0."""
    total = torch.zeros((), dtype=torch.float64)
    for row, logp in zip(rows, logps, strict=True):
        gain = clipped(ratios(row, logp), row.advantage, 0.2, 0.2)
        if row.advantage < 0:
            gain = gain.clamp(min=3 * row.advantage)
        total = total - gain.sum()
    return total / HORIZON / len(episodes(rows))


def dr_grpo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/(G·horizon) Σ_i Σ_t min(…)."""
    gains = [
        clipped(ratios(row, logp), row.advantage, 0.2, 0.2).sum()
        for row, logp in zip(rows, logps, strict=True)
    ]
    return -torch.stack(gains).sum() / HORIZON / len(episodes(rows))


def rloo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/(G·horizon) Σ_i Σ_t sg(min(ρ, 2))·A·logπ."""
    gains = [
        (ratios(row, logp).detach().clamp(max=2.0) * row.advantage * logp).sum()
        for row, logp in zip(rows, logps, strict=True)
    ]
    return -torch.stack(gains).sum() / HORIZON / len(episodes(rows))


def reinforce_pp(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """A = (R - mean)/std over the tokens of the step, PPO's clip, mean over tokens."""
    rewards = np.repeat([row.advantage for row in rows], [row.sampled_ids.size for row in rows])
    mean, std = rewards.mean(), rewards.std(ddof=1)
    gains = [
        clipped(ratios(row, logp), (row.advantage - mean) / std, 0.2, 0.2).sum()
        for row, logp in zip(rows, logps, strict=True)
    ]
    return -torch.stack(gains).sum() / len(rewards)


def ppo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """A_k = r_k + λ·A_{k+1} over an episode's calls (the critic says 0), whitened; PPO's clip."""
    found: list[float] = []
    for place, row in enumerate(rows):
        later = [other for other in rows[place:] if other.episode_id == row.episode_id]
        found.append(sum(0.95**k * other.reward for k, other in enumerate(later)))
    by_token = np.repeat(found, [row.sampled_ids.size for row in rows])
    mean, std = by_token.mean(), by_token.std(ddof=1)
    gains = [
        clipped(ratios(row, logp), (advantage - mean) / std, 0.2, 0.2).sum()
        for row, logp, advantage in zip(rows, logps, found, strict=True)
    ]
    return -torch.stack(gains).sum() / len(by_token)


def dapo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/Σ|o_i| Σ_i Σ_t min(…) with clip-higher; truncated answers give nothing and count."""
    gains = [
        clipped(ratios(row, logp), row.advantage, 0.2, 0.28).sum() * (not row.truncated)
        for row, logp in zip(rows, logps, strict=True)
    ]
    return -torch.stack(gains).sum() / sum(row.sampled_ids.size for row in rows)


def gspo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/G Σ_i 1/K_i Σ_k min(s_k·A, clip(s_k)·A), s_k = exp(mean of the call's log-ratios)."""
    total = torch.zeros((), dtype=torch.float64)
    for row, logp in zip(rows, logps, strict=True):
        ratio = ratios(row, logp).log().mean().exp()
        calls = sum(other.episode_id == row.episode_id for other in rows)
        total = total - clipped(ratio, row.advantage, 3e-4, 4e-4) / calls
    return total / len(episodes(rows))


def cispo(rows: Sequence[TrainingRow], logps: Sequence[Tensor]) -> Tensor:
    """-1/Σ|o_i| Σ_i Σ_t sg(clip(r, 0, 5))·A·logπ."""
    gains = [
        (ratios(row, logp).detach().clamp(0.0, 5.0) * row.advantage * logp).sum()
        for row, logp in zip(rows, logps, strict=True)
    ]
    return -torch.stack(gains).sum() / sum(row.sampled_ids.size for row in rows)


FORMULAS: dict[str, Losses] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
    "ppo": ppo,
    "dapo": dapo,
    "gspo": gspo,
    "cispo": cispo,
}


def gradients_of(
    model: Path, rows: Sequence[TrainingRow], loss: Losses
) -> tuple[float, dict[str, Tensor]]:
    """Loss and its gradients by parameter, each row read alone, float64."""
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float64)
    value = loss(rows, [logp_of(net, row) for row in rows])
    value.backward()  # type: ignore[no-untyped-call]  # torch's own
    return float(value.detach()), {
        name: p.grad for name, p in net.named_parameters() if p.grad is not None
    }


def logp_of(net: torch.nn.Module, row: TrainingRow) -> Tensor:
    """Of the sampled tokens [S], at the row's temperature."""
    path = torch.from_numpy(row.path())
    logits = net(input_ids=path[None]).logits[0, row.prompt_ids.size - 1 :] / row.temperature
    targets = torch.from_numpy(row.sampled_ids.astype(np.int64))
    logp: Tensor = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    return logp
