"""Episodes of a process, as the credit stage would see them."""

from dataclasses import dataclass, replace

import numpy as np
from benchmarks.credit.process import Array, Process

from headrace.streams.credit.members import MemberCall

MOST_CALLS = 200


@dataclass(kw_only=True, slots=True, frozen=True)
class Walk:
    """One episode: the states it came through, the actions it took, what each earned."""

    states: list[int]
    actions: list[int]
    rewards: list[float]

    @property
    def reward(self) -> float:
        """The return."""
        return sum(self.rewards)


def walk(process: Process, chance: np.random.Generator) -> Walk:
    """An episode of the process under its policy; cut after MOST_CALLS."""
    states: list[int] = []
    actions: list[int] = []
    rewards: list[float] = []
    state: int | None = 0
    while state is not None and len(states) < MOST_CALLS:
        action = int(np.searchsorted(np.cumsum(process.policy[state]), chance.random()))
        action = min(action, process.policy.shape[1] - 1)
        arcs = process.arcs[state][action]
        pick = int(np.searchsorted(np.cumsum([arc.chance for arc in arcs]), chance.random()))
        arc = arcs[min(pick, len(arcs) - 1)]
        states.append(state)
        actions.append(action)
        rewards.append(arc.reward)
        state = arc.to
    return Walk(states=states, actions=actions, rewards=rewards)


_CALL = MemberCall(sample_id="", agent="a", reason="", version_min=0, version_max=0, tokens=1)


def calls_of(process: Process, one: Walk, method: str, values: Array) -> tuple[MemberCall, ...]:
    """The calls of an episode with what the method would have noted of each.

    `values`: float64 [states], what a critic says of each state.
    """
    noted = _noted(process, one, method.partition("(")[0], values)
    return tuple(
        replace(_CALL, reward=reward if process.told else None, observed=text)
        for reward, text in zip(one.rewards, noted, strict=True)
    )


def _noted(process: Process, one: Walk, method: str, values: Array) -> list[str]:
    steps = list(zip(one.states, one.actions, strict=True))
    if method == "gigpo":
        return [str(state) for state in one.states]
    if method == "counterfactual":
        return [str((one.states[: k + 1], one.actions[:k])) for k in range(len(steps))]
    if method == "tool_outcome":
        return ["failed" if process.fails(state, action) else "fine" for state, action in steps]
    if method == "turn_gae":
        return [repr(float(values[state])) for state in one.states]
    if method == "potential":
        # Told after a call: how far the task is in the state that it led to.
        told = [repr(process.progress.get(state, 0.0)) for state in one.states[1:]]
        return [*told, ""]
    return [""] * len(steps)
