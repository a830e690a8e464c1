"""How far an engine's log-probabilities are from those of the trainer's forward pass."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from headrace.connectors.engines import Generation, GenerationRequest
from headrace.kernels import linear_logp
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.policy import Policy

Sampled = Sequence[tuple[GenerationRequest, Generation]]


def gap(weights: Path, model: Path, sampled: Sampled, temperature: float = 1.0) -> torch.Tensor:
    """|difference| of log-probability in nats, token by token.

    Args:
        weights: the folder with the weights that the trainer has.
        model: the folder with the model's configuration.
    """
    policy = Policy.load(model, compute_dtype=torch.bfloat16)
    with torch.no_grad():
        for name, tensor in load_file(weights / "model.safetensors").items():
            policy.parameters()[name].copy_(tensor)
    rows = [_row(n, *one, temperature) for n, one in enumerate(sampled)]
    gaps = []
    with torch.no_grad():
        for pack in pack_rows(rows, PackingConfig()).packs:
            hidden = policy.hidden_states(pack)[torch.from_numpy(pack.sources)]
            targets = np.concatenate([rows[index].sampled_ids for index in pack.rows])
            scored = linear_logp(
                hidden,
                policy.head,
                torch.from_numpy(targets.astype(np.int64)),
                temperature=temperature,
            )
            engine = np.concatenate([sampled[index][1].logprobs for index in pack.rows])
            gaps.append((scored.logp - torch.from_numpy(engine)).abs())
    return torch.cat(gaps)


def _row(
    n: int, request: GenerationRequest, generation: Generation, temperature: float
) -> TrainingRow:
    size = len(generation.token_ids)
    return TrainingRow(
        sample_id=str(n),
        episode_id=str(n),
        group_id="g",
        prompt_ids=np.asarray(request.prompt_ids, np.uint32),
        sampled_ids=np.asarray(generation.token_ids, np.uint32),
        behaviour_logp=np.zeros(size, np.float32),
        versions=np.zeros(size, np.int64),
        advantage=1.0,
        temperature=temperature,
    )
