"""Advantages of tokens: what credit gave each call, or what the step makes of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from headrace.kernels import discounted_returns, masked_whiten
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import TrainingRow


def advantages_of(
    rows: Sequence[TrainingRow],
    weights: Sequence[Tensor],
    algorithm: AlgorithmConfig,
    penalties: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Advantage of every sampled token, fp32, one tensor [sampled tokens] a row.

    `weights`: those of `token_weights`. `penalties`: what each token's own reward loses (a KL in
    the reward): all that follow it in its episode are its advantage's too. Whitening (REINFORCE++,
    arXiv 2501.03262) is over the tokens of the whole batch that weigh anything, so that it does not
    depend on packs.
    """
    sizes = [row.sampled_ids.size for row in rows]
    given = torch.tensor([row.advantage for row in rows], dtype=torch.float64)
    values = given.repeat_interleave(torch.tensor(sizes))
    if penalties is not None:
        values = values + _to_go(rows, penalties)
    if algorithm.whiten:
        values = masked_whiten(values, torch.cat(list(weights)))
    return list(torch.split(values.float(), sizes))


def _to_go(rows: Sequence[TrainingRow], penalties: Sequence[Tensor]) -> Tensor:
    """Σ of the penalties from a token on, within its episode; float64, row after row."""
    order = sequences(rows)
    places = [place for one in order for place in one]
    sizes = [rows[place].sampled_ids.size for place in places]
    lengths = [sum(rows[place].sampled_ids.size for place in one) for one in order]
    bounds = torch.nn.functional.pad(torch.tensor(lengths).cumsum(0), (1, 0))
    sums = discounted_returns(torch.cat([penalties[p].double() for p in places]), bounds)
    parts = dict(zip(places, torch.split(sums, sizes), strict=True))
    return torch.cat([parts[place] for place in range(len(rows))])


def sequences(rows: Sequence[TrainingRow]) -> list[list[int]]:
    """Places of the rows of each agent in each episode, in the order of its calls."""
    found: dict[tuple[str, str], list[int]] = {}
    for place in sorted(range(len(rows)), key=lambda i: rows[i].turn):
        found.setdefault((rows[place].episode_id, rows[place].agent), []).append(place)
    return list(found.values())
