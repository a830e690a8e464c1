"""What the intake admits, and what it hands to a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.schemas import Credits, Sample
from headrace.schemas.vocabulary import DropReason, MemberStatus
from headrace.trainer.choices import Stale
from headrace.trainer.decided import GroupKey
from headrace.trainer.errors import TrainerError
from headrace.trainer.held import LeftOut, oldest_version
from headrace.trainer.presets import baselines_of
from headrace.trainer.ready import rollouts_of


@dataclass(kw_only=True, slots=True, frozen=True)
class IntakeConfig:
    """What the intake admits."""

    policy: str
    """Policy that is trained; credits and samples of others are passed over."""
    trainer: str = "main"
    """Name under which outcomes are written; another name is a shadow trainer."""
    rollouts_per_step: int = 48
    """B: a step is due when groups to train stand for at least this many rollouts."""
    max_staleness: int = 1
    """η: trainer version minus the oldest version among a sample's tokens, at most."""
    stale: Stale = "withhold"
    """What becomes of a staler sample: `drop` drops its group, else it is left out alone; `wait`
    takes no step that would make running rollouts stale (`add_task`)."""
    baseline: str = ""
    """What advantages were formed against: Credits of another baseline are not trained
    (`baseline_mismatch`). Empty: whatever they are."""
    max_held_bytes: int = 1 << 30
    """Samples in memory; beyond it the oldest are let go, and their groups dropped (`memory`)."""

    def mismatch(self, credits: Credits) -> LeftOut | None:
        """Why the advantages of Credits are not what the algorithm takes; None: they are."""
        if not self.baseline or credits.baseline in baselines_of(self.baseline):
            return None
        return LeftOut(
            DropReason.BASELINE_MISMATCH,
            f"credited against {credits.baseline!r}, and [trainer] algorithm takes "
            f"{self.baseline!r}",
        )

    def __post_init__(self) -> None:
        if not self.policy:
            raise TrainerError("policy is empty: name the policy to train")
        if self.rollouts_per_step < 1:
            raise TrainerError("rollouts_per_step must be at least 1")
        if self.max_staleness < 0:
            raise TrainerError("max_staleness must be 0 or more")
        if self.max_held_bytes < 1:
            raise TrainerError("max_held_bytes must be at least 1")


@dataclass(kw_only=True, slots=True, frozen=True)
class TrainableGroup:
    """A group to train, with the tokens of its trainable samples by sample id."""

    credits: Credits
    samples: Mapping[str, Sample]
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    """Those that are not trained; their rewards stay in the baseline."""

    @property
    def key(self) -> GroupKey:
        """Project and group id."""
        return self.credits.project, self.credits.group_id

    @property
    def oldest_version(self) -> int:
        """Oldest policy version among its tokens."""
        return min(map(oldest_version, self.samples.values()), default=0)

    @property
    def rollouts(self) -> int:
        """Rollouts it stands for, those that bring nothing to train included: so a step is due
        when its rollouts have ended, whatever became of them."""
        return rollouts_of(self.credits)

    @property
    def episodes(self) -> int:
        """Episodes its statistics are over: the divisor of the loss, before any rejection."""
        used = {
            (m.rollout_id, m.attempt) for m in self.credits.members if m.status == MemberStatus.USED
        }
        return len(used | {(s.rollout_id, s.attempt) for s in self.samples.values()})
