"""Advantages of tokens: what credit gave each call, or what the step makes of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headrace.kernels import masked_whiten
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import TrainingRow


def advantages_of(
    rows: Sequence[TrainingRow], weights: Sequence[Tensor], algorithm: AlgorithmConfig
) -> list[Tensor]:
    """Advantage of every sampled token, fp32, one tensor [sampled tokens] a row.

    Whitening (REINFORCE++, arXiv 2501.03262) is over the tokens of the whole batch that weigh
    anything, so that it does not depend on packs. `weights`: those of `token_weights`.
    """
    sizes = [row.sampled_ids.size for row in rows]
    given = torch.tensor([row.advantage for row in rows], dtype=torch.float64)
    values = given.repeat_interleave(torch.tensor(sizes))
    if algorithm.whiten:
        values = masked_whiten(values, torch.cat(list(weights)))
    return list(torch.split(values.float(), sizes))
