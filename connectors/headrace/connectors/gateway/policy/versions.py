"""Which versions of a policy are known, and which of them its name means. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from headrace.schemas import PolicyRecord, PolicyVersion

NEWEST = -1
_PINNED = re.compile(r"(?P<policy>.+)@(?P<version>0|[1-9][0-9]{0,9})", re.ASCII)


@dataclass(slots=True)
class PolicyBook:
    """What `headrace.policies` says of one policy, folded record by record."""

    policy: str
    is_frozen: bool = False
    """Whether it knows of version 0 alone."""
    versions: dict[int, PolicyVersion] = field(default_factory=dict)
    traffic: int = NEWEST
    """The version that the name means; NEWEST follows the log."""

    def take(self, records: Iterable[PolicyRecord]) -> None:
        """Fold records in the order of the log; those of other policies change nothing."""
        for record in records:
            version, traffic = record.version, record.traffic
            if version is not None and version.policy == self.policy:
                if version.version == 0 or not self.is_frozen:
                    self.versions[version.version] = version
            elif traffic is not None and traffic.policy == self.policy and not self.is_frozen:
                self.traffic = traffic.version

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


def split_model(model: str) -> tuple[str, int | None]:
    """`name` or `name@7` as policy and pinned version.

    Example:
        split_model("calculator@7") == ("calculator", 7)
    """
    found = _PINNED.fullmatch(model)
    if found is None:
        return model, None
    return found["policy"], int(found["version"])
