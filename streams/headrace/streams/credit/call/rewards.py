"""Rewards of calls: decompositions of an episode's reward, and returns. Pure."""

import numpy as np

from headrace.streams.credit.call.contract import Array, CreditedEpisode


def call_rewards(episode: CreditedEpisode) -> Array:
    """What each call earned, float64 [calls]; Σ = the episode's reward.

    A reward aimed at a call is that call's; what the episode's reward is beyond them comes with the
    last call.
    """
    given = np.array([call.reward or 0.0 for call in episode.calls])
    given[-1:] += episode.reward - given.sum()
    return given


def at_last(reward: float, calls: int) -> Array:
    """Per-call rewards [calls] with the whole outcome on the last call; Σ = reward."""
    rewards = np.zeros(calls)
    rewards[-1:] = reward
    return rewards


def evenly(reward: float, calls: int) -> Array:
    """Per-call rewards [calls], the outcome in equal parts; Σ = reward."""
    return weighted(reward, np.ones(calls))


def weighted(reward: float, weights: Array) -> Array:
    """Per-call rewards in proportion to non-negative weights [calls], not all 0; Σ = reward."""
    rewards: Array = reward * (weights / weights.sum())
    return rewards


def shaped(rewards: Array, potentials: Array, gamma: float = 1.0) -> Array:
    """r_k + gamma·Φ(s_{k+1}) − Φ(s_k) (Ng, Harada, Russell 1999), float64 [calls].

    `potentials` [calls]: of the state before each call; that of the end is 0, so that
    Σ gamma^k·r'_k = Σ gamma^k·r_k − Φ(s_0): no policy becomes better or worse by it.
    """
    after = np.append(potentials[1:], 0.0)
    changed: Array = rewards + gamma * after - potentials
    return changed


def returns_to_go(rewards: Array, gamma: float = 1.0) -> Array:
    """R_k = Σ_{j≥k} gamma^(j-k)·r_j over the calls of one episode, float64 [calls]."""
    returns = np.empty(len(rewards))
    after = 0.0
    for k in range(len(rewards) - 1, -1, -1):
        after = rewards[k] + gamma * after
        returns[k] = after
    return returns


def turn_gae(rewards: Array, values: Array, gamma: float, lam: float) -> Array:
    """Generalised advantage estimates over calls, float64 [calls] (arXiv 2512.17008, 1506.02438).

    δ_k = r_k + gamma·V_{k+1} − V_k and A_k = δ_k + gamma·lam·A_{k+1}; `values` [calls]: V before
    each call, 0 at the end.
    """
    return returns_to_go(shaped(rewards, values, gamma), gamma * lam)
