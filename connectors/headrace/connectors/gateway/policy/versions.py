"""Which versions of a policy are known, and which of them its name means. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from headrace.schemas import PolicyRecord, PolicyVersion, TrafficShare

NEWEST = -1
_PINNED = re.compile(r"(?P<policy>.+)@(?P<version>0|[1-9][0-9]{0,9})", re.ASCII)


@dataclass(slots=True)
class PolicyBook:
    """What `headrace.policies` says of one policy, folded record by record."""

    policy: str
    is_frozen: bool = False
    """Whether it knows of version 0 alone."""
    versions: dict[int, PolicyVersion] = field(default_factory=dict)
    pruned: set[int] = field(default_factory=set)
    """Versions that were published and whose weights are not kept."""
    traffic: int = NEWEST
    """The version that the name means; NEWEST follows the log."""
    shares: Sequence[TrafficShare] = ()
    """Versions that some of the rollouts get instead."""

    def take(self, records: Iterable[PolicyRecord]) -> None:
        """Fold records in the order of the log; those of other policies change nothing."""
        for record in records:
            version, traffic, pruned = record.version, record.traffic, record.pruned
            if version is not None and version.policy == self.policy:
                known = version.version not in self.pruned
                if known and (version.version == 0 or not self.is_frozen):
                    self.versions[version.version] = version
            elif traffic is not None and traffic.policy == self.policy and not self.is_frozen:
                self.traffic, self.shares = traffic.version, tuple(traffic.shares)
            elif pruned is not None and pruned.policy == self.policy and not self.is_frozen:
                self.versions.pop(pruned.version, None)
                self.pruned.add(pruned.version)

    def share_of(self, rollout_id: str) -> int | None:
        """The version that a rollout gets by its share; None: the one that the name means.

        Drawn from the ids alone, so all calls of a rollout get the same one, in every gateway.
        """
        digest = sha256(f"{self.policy}/{rollout_id}".encode()).digest()
        drawn = int.from_bytes(digest[:8]) / 2**64
        for one in self.shares:
            if drawn < one.share:
                return one.version if one.version in self.versions else None
            drawn -= one.share
        return None

    @property
    def target(self) -> PolicyVersion | None:
        """The version that the policy's name means; None where it is not published yet."""
        if self.traffic >= 0:
            return self.versions.get(self.traffic)
        return self.versions[max(self.versions)] if self.versions else None

    @property
    def awaited(self) -> str:
        """The version that has to be published before there is a target, in words."""
        if self.traffic >= 0:
            return f"version {self.traffic} of {self.policy}, which its traffic record names"
        return f"version 0 of {self.policy}"


def located(uri: str, checkpoints: Path | None) -> Path:
    """Where a version's weights lie: under our checkpoints, if they are there, whatever the place
    was called when they were written; else at `uri`."""
    written = Path(uri)
    here = None if checkpoints is None else checkpoints / written.parent.name / written.name
    return here if here is not None and here.is_dir() else written


def split_model(model: str) -> tuple[str, int | None]:
    """`name` or `name@7` as policy and pinned version.

    Example:
        split_model("calculator@7") == ("calculator", 7)
    """
    found = _PINNED.fullmatch(model)
    if found is None:
        return model, None
    return found["policy"], int(found["version"])
