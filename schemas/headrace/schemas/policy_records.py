"""Records of `headrace.policies`, field for field as its `.avsc` file declares them."""

from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True, frozen=True)
class Offset:
    """Lowest offset of a partition that is still needed."""

    topic: str = ""
    partition: int = 0
    offset: int = 0


@dataclass(kw_only=True, slots=True, frozen=True)
class PolicyVersion:
    """One set of weights of a policy. The committed record is the trainer's commit point."""

    policy: str = ""
    version: int = 0
    parent: int = -1
    created_at: int = 0
    trainer: str = ""
    uri: str = ""
    content_hash: str = ""
    weights_hash: str = ""
    config_hash: str = ""
    base_model: str = ""
    base_hash: str = ""
    reference: str = ""
    offsets: list[Offset] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    samples: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True, frozen=True)
class TrafficShare:
    """A version that some of the rollouts get instead."""

    version: int = -1
    share: float = 0.0


@dataclass(kw_only=True, slots=True, frozen=True)
class Traffic:
    """Which version a policy's name stands for."""

    policy: str = ""
    version: int = -1
    shares: list[TrafficShare] = field(default_factory=list)
    said_by: str = ""
    why: str = ""
    judged: int = -1


@dataclass(kw_only=True, slots=True, frozen=True)
class PrunedVersion:
    """A version whose weights are not kept any more."""

    policy: str = ""
    version: int = 0
    content_hash: str = ""
    pruned_at: int = 0


@dataclass(kw_only=True, slots=True, frozen=True)
class PolicyRecord:
    """A record of headrace.policies: exactly one of its fields is set."""

    version: PolicyVersion | None = None
    traffic: Traffic | None = None
    pruned: PrunedVersion | None = None
