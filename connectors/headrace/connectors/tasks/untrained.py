"""Groups that end without being trained, one after the other: why, and what to do. Pure."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping

from headrace.schemas.vocabulary import DropReason, GroupOutcome, MemberStatus, Untrainable

LAST_VERSION = "max_versions"
"""Why the trainer drops what comes after the last version that it is to make."""

_AGENTS = "agents do not come to their end: `headrace tasks status` has the last error"
_REWARDS = "give rewards, or mend the rule ([credit] rule)"
_ADVICE: Mapping[str, str] = {
    GroupOutcome.ZERO_ADVANTAGE: (
        "all rollouts of a group get one reward: give tasks that sometimes succeed and sometimes "
        "do not, or a rule that tells them apart"
    ),
    GroupOutcome.REWARD_ABSENT: _REWARDS,
    MemberStatus.RULE_ERROR: _REWARDS,
    MemberStatus.REWARD_INVALID: _REWARDS,
    GroupOutcome.GROUP_INCOMPLETE: _AGENTS,
    MemberStatus.INFRASTRUCTURE: _AGENTS,
    MemberStatus.INCOMPLETE: _AGENTS,
    DropReason.NEVER_STARTED: "nobody runs the tasks in time: start `headrace work`",
    DropReason.NO_CALL: "agents do not call the gateway: give them its URL",
    DropReason.STALE: (
        "rollouts are too old when they are trained: raise [trainer] max_staleness, or shorten them"
    ),
    DropReason.TOO_LONG: (
        "their calls are longer than a pack of the trainer: raise [trainer] token_budget"
    ),
    DropReason.OFF_BRANCH: (
        "they were sampled from a version that training did not go on from: what is asked for now "
        "is not"
    ),
    DropReason.BASELINE_MISMATCH: (
        "they were credited for another algorithm: set [trainer] algorithm and [credit] baseline "
        "together, and start `headrace up` again"
    ),
    DropReason.NON_FINITE: "the weights are broken: serve an older version and train on from it",
    LAST_VERSION: "the trainer has made its last version: raise [trainer] max_versions",
    Untrainable.NOT_SELECTED: "no agent of theirs is trained: see the section [agents]",
    Untrainable.OTHER_POLICY: (
        "the gateway does not know which agent called: let it send x-headrace-agent, or ask by the "
        "name of its policy"
    ),
    Untrainable.OFF_SUPPORT: "sample at a temperature above 0 without top-p, top-k or penalties",
}
_ELSE = "the view drop_ledger tells more (`headrace sql`)"


def advice(reason: str) -> str:
    """What to do about groups that are dropped for a reason."""
    return _ADVICE.get(reason, _ELSE)


def pause_text(reasons: Mapping[str, int], *, newest: int = -1, served: int = -1) -> str:
    """Why groups end untrained, and what to do about it.

    Args:
        reasons: reason -> groups.
        newest: the newest version, -1: none.
        served: the version that traffic is pinned to, -1: none.
    """
    ordered = Counter(reasons).most_common()
    told = ", ".join(f"{reason} {count}" for reason, count in ordered)
    first = ordered[0][0] if ordered else ""
    if first == DropReason.STALE and 0 <= served < newest:
        why = (
            f"traffic is pinned to version {served} and the newest is {newest}: serve the newest, "
            "or train on from the one that is served"
        )
    else:
        why = advice(first)
    return f"the last {sum(reasons.values())} groups all ended untrained ({told}): {why}"


class Untrained:
    """Groups of rollouts, and whether one of the last ones was trained.

    Outcomes may come in any order and more than once. Only those of groups that were asked for
    before them count.
    """

    def __init__(self, most: int) -> None:
        self._open: dict[str, set[str]] = {}
        self._last: deque[str] = deque(maxlen=most)

    @property
    def reasons(self) -> dict[str, int]:
        """Why the groups since the last trained one ended, `most` at most."""
        return dict(Counter(self._last))

    def asked(self, group: str, rollouts: Iterable[str]) -> None:
        """A group was asked for."""
        self._open.setdefault(group, set()).update(rollouts)

    def outcome(self, group: str, rollout: str, reason: str) -> bool | None:
        """An outcome of a rollout; an empty reason: it was trained.

        Returns True if the group counts as trained with it, False if it has ended untrained, None
        if neither is so, or was before.
        """
        waits = self._open.get(group)
        if waits is None:
            return None
        waits.discard(rollout)
        if not reason:
            del self._open[group]
            self._last.clear()
            return True
        if waits:
            return None
        del self._open[group]
        self._last.append(reason)
        return False
