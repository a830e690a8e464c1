"""How far an engine's log-probabilities are from those of the trainer's forward pass."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from headrace.connectors.engines import Generation, GenerationRequest
from headrace.kernels import linear_logp
from headrace.trainer.batch import PackingConfig, TrainingRow, pack_rows
from headrace.trainer.policy import Policy


class Drawn(NamedTuple):
    """What an engine drew after a prompt."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float]


def drawn_of(request: GenerationRequest, generation: Generation) -> Drawn:
    return Drawn(request.prompt_ids, generation.token_ids, generation.logprobs)


def gaps(policy: Policy, drawn: Sequence[Drawn], temperature: float = 1.0) -> Tensor:
    """|difference| of log-probability in nats, token by token; infinite where the tokens do not
    line up with the log-probabilities."""
    rows = [
        row_of(n, one.prompt_ids, one.token_ids, temperature=temperature)
        for n, one in enumerate(drawn)
    ]
    found = []
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
            engine = np.concatenate([drawn[index].logprobs for index in pack.rows])
            if len(engine) != len(scored.logp):
                return torch.tensor([torch.inf])
            found.append((scored.logp - torch.from_numpy(engine)).abs())
    return torch.cat(found)


def row_of(
    n: int,
    prompt: Sequence[int],
    sampled_ids: Sequence[int],
    *,
    advantage: float = 1.0,
    temperature: float = 1.0,
) -> TrainingRow:
    """A call to train, of an episode of its own."""
    size = len(sampled_ids)
    return TrainingRow(
        sample_id=str(n),
        episode_id=str(n),
        group_id="g",
        prompt_ids=np.asarray(prompt, np.uint32),
        sampled_ids=np.asarray(sampled_ids, np.uint32),
        behaviour_logp=np.zeros(size, np.float32),
        versions=np.zeros(size, np.int64),
        advantage=advantage,
        temperature=temperature,
    )
