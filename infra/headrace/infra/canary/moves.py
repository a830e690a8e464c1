"""What is to be said next of a policy's traffic. Pure: it remembers the last traffic record alone.

The policy's name is kept on the last version that was not found worse (the stable one). The newest
version made from it gets a share; when it is judged, it takes the name or loses its share.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from headrace.connectors.gateway.policy.versions import NEWEST
from headrace.infra.canary.verdict import Finding, Verdict
from headrace.schemas import Traffic, TrafficShare
from headrace.schemas.vocabulary import SaidBy


class Did(StrEnum):
    """What was done."""

    KEPT = "kept"
    """The name, which stood for whatever is newest, is kept on that version."""
    TRIED = "tried"
    """A new version got a share."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    GIVEN_UP = "given_up"
    """The version under trial cannot be served any more."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Move:
    """A traffic record to be written."""

    did: Did
    version: int
    """The version that it is about."""
    traffic: Traffic
    undo: str
    """The command that takes it back."""


def canary_of(traffic: Traffic) -> int | None:
    """The version under trial: the only share beside a version that is kept."""
    if traffic.version == NEWEST or len(traffic.shares) != 1:
        return None
    return traffic.shares[0].version


@dataclass(kw_only=True, slots=True, frozen=True)
class Standing:
    """What the log says of a policy."""

    traffic: Traffic
    """What was said last."""
    parents: Mapping[int, int]
    """Of each version the one that it was made from; -1: none."""
    here: Collection[int]
    """Versions whose weights are kept."""


def next_move(standing: Standing, verdict: Verdict | None, share: float) -> Move | None:
    """The next thing to say; None: nothing, for now.

    verdict: on the version under trial, if any. share: what a new version gets. Several shares are
    a person's plan, which is left alone.
    """
    traffic = standing.traffic
    if not standing.here:
        return None
    if traffic.version == NEWEST:
        if traffic.shares:
            return None
        newest = max(standing.here)
        why = f"version {newest} is kept until a newer one was tried beside it"
        return _move(Did.KEPT, newest, traffic, newest, why)
    if (canary := canary_of(traffic)) is not None:
        return _of_trial(traffic, canary, canary in standing.here, verdict)
    if traffic.shares:
        return None
    if (candidate := _candidate(standing)) is None:
        return None
    why = f"version {candidate} is tried beside version {traffic.version}"
    tried = [TrafficShare(version=candidate, share=share)]
    return _move(Did.TRIED, candidate, traffic, traffic.version, why, shares=tried)


def _of_trial(traffic: Traffic, canary: int, is_here: bool, verdict: Verdict | None) -> Move | None:
    if not is_here:
        why = f"version {canary} cannot be served any more: its weights are not kept"
        return _move(Did.GIVEN_UP, canary, traffic, traffic.version, why, judged=canary)
    if verdict is None or verdict.finding == Finding.OPEN:
        return None
    numbers = figures(verdict)
    if verdict.finding == Finding.WORSE:
        why = f"version {canary} is worse than version {traffic.version}: {numbers}"
        return _move(Did.ROLLED_BACK, canary, traffic, traffic.version, why, judged=canary)
    why = f"version {canary} was not found worse than version {traffic.version}: {numbers}"
    return _move(Did.PROMOTED, canary, traffic, canary, why, judged=canary)


def figures(verdict: Verdict) -> str:
    """What a verdict rests on, in words."""
    return (
        f"{verdict.comparisons} comparisons, mean reward {verdict.canary_reward:.3g} "
        f"({verdict.canary_rollouts} rollouts) beside {verdict.stable_reward:.3g} "
        f"({verdict.stable_rollouts}), p = {verdict.p_value:.2g}"
    )


def _candidate(standing: Standing) -> int | None:
    """The newest version not judged yet that was made from the one that is kept."""
    stable = standing.traffic.version
    later = [
        version
        for version in standing.here
        if version > max(standing.traffic.judged, stable)
        and _descends(version, stable, standing.parents)
    ]
    return max(later, default=None)


def _descends(version: int, ancestor: int, parents: Mapping[int, int]) -> bool:
    while version > ancestor:
        version = parents.get(version, -1)
    return version == ancestor


def _move(
    did: Did,
    about: int,
    before: Traffic,
    version: int,
    why: str,
    *,
    shares: list[TrafficShare] | None = None,
    judged: int | None = None,
) -> Move:
    traffic = Traffic(
        policy=before.policy,
        version=version,
        shares=shares or [],
        said_by=SaidBy.CANARY,
        why=why,
        judged=before.judged if judged is None else max(judged, before.judged),
    )
    # What had the name before a promotion takes it back by its number.
    back = {Did.KEPT: "--newest", Did.ROLLED_BACK: f"--version {about}"}
    undo = f"headrace traffic {before.policy} {back.get(did, f'--version {before.version}')}"
    return Move(did=did, version=about, traffic=traffic, undo=undo)
