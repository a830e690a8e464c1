"""Advantages of tokens: what credit gave each call, or what the step makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headrace.kernels import discounted_returns, gae, masked_whiten, turn_gae
from headrace.trainer.algorithms import AlgorithmConfig
from headrace.trainer.batch import TrainingRow


@dataclass(kw_only=True, slots=True, frozen=True)
class Estimates:
    """Of every sampled token, fp32, one tensor [sampled tokens] a row."""

    advantages: list[Tensor]
    returns: list[Tensor] | None = None
    """What a critic should have said; None without one."""


def advantages_of(
    rows: Sequence[TrainingRow],
    weights: Sequence[Tensor],
    algorithm: AlgorithmConfig,
    penalties: Sequence[Tensor] | None = None,
    values: Sequence[Tensor] | None = None,
) -> Estimates:
    """Advantage of every sampled token: what credit gave its call, or what a critic's `values` say.

    `weights`: those of `token_weights`. `penalties`: what each token's own reward loses (a KL in
    the reward): all that follow it in its episode are its advantage's too. Whitening (REINFORCE++,
    arXiv 2501.03262) is over the tokens of the whole batch that weigh anything, so that it does not
    depend on packs; returns are of before it.
    """
    sizes = [row.sampled_ids.size for row in rows]
    returns = None
    if values is None:
        given = torch.tensor([row.advantage for row in rows], dtype=torch.float64)
        found = torch.cat([one.expand(size) for one, size in zip(given, sizes, strict=True)])
        if penalties is not None:
            found = found + _to_go(rows, penalties)
    else:
        found, wanted = _estimated(rows, values, algorithm, penalties)
        returns = list(torch.split(wanted.float(), sizes))
    if algorithm.whiten:
        found = masked_whiten(found, torch.cat(list(weights)))
    return Estimates(advantages=list(torch.split(found.float(), sizes)), returns=returns)


def _estimated(
    rows: Sequence[TrainingRow],
    values: Sequence[Tensor],
    algorithm: AlgorithmConfig,
    penalties: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates and returns, float64 [tokens of all rows], row after row.

    A sequence is the calls of one agent in one episode; only their sampled tokens are its steps
    (`token`, arXiv 1506.02438), or the calls themselves (`turn`, arXiv 2512.17008). A call's reward
    comes with its last token. After a sequence that was cut off comes the value of its last state,
    else 0. Under `turn` penalties are added outside of the recursion.
    """
    order = sequences(rows)
    places = [place for one in order for place in one]
    sizes = torch.tensor([rows[place].sampled_ids.size for place in places])
    turns = torch.nn.functional.pad(sizes.cumsum(0), (1, 0))
    ends = torch.tensor([len(one) for one in order]).cumsum(0)
    bounds = torch.nn.functional.pad(turns[ends], (1, 0))
    rewards = torch.zeros(int(turns[-1]), dtype=torch.float64)
    rewards[turns[1:] - 1] = torch.tensor([rows[p].reward for p in places], dtype=torch.float64)
    known = torch.cat([values[place].double() for place in places])
    cut = torch.tensor([rows[one[-1]].truncated for one in order])
    bootstrap = torch.where(cut, known[bounds[1:] - 1], 0.0)
    lost = None if penalties is None else torch.cat([penalties[p].double() for p in places])
    gamma, lam = algorithm.gamma, algorithm.lam
    if algorithm.gae == "token":
        given = rewards if lost is None else rewards + lost
        found = gae(given, known, bounds, gamma=gamma, lam=lam, bootstrap=bootstrap)
    else:
        found = turn_gae(rewards, known, bounds, turns, gamma=gamma, lam=lam, bootstrap=bootstrap)
        if lost is not None:
            found = (found[0] + lost, found[1])
    advantages, returns = (
        dict(zip(places, torch.split(column, sizes.tolist()), strict=True)) for column in found
    )
    return (
        torch.cat([advantages[place] for place in range(len(rows))]),
        torch.cat([returns[place] for place in range(len(rows))]),
    )


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
