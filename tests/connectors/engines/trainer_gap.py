"""How far an engine is from the trainer under weights that were published."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from headrace.connectors.engines import Generation, GenerationRequest
from headrace.trainer.policy import Policy
from tests.support.scoring import drawn_of, gaps

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
    return gaps(policy, [drawn_of(*one) for one in sampled], temperature)
