"""An intake, and records of groups of two rollouts to feed it."""

import numpy as np

from headrace.schemas import Credits, Member, Outcome, Sample, SampleCredit
from headrace.trainer.choices import Stale
from headrace.trainer.decided import SKEW_MS, Decided, Decision
from headrace.trainer.fitness import Fitness
from headrace.trainer.intake import Intake
from headrace.trainer.pinned import Position
from headrace.trainer.trainable import IntakeConfig, TrainableGroup

NOW = 1_000


RESTART = 10 * SKEW_MS


def intake(
    rollouts: int = 2,
    staleness: int = 1,
    held_bytes: int = 1 << 30,
    stale: Stale = "withhold",
    fitness: Fitness | None = None,
) -> Intake:
    return Intake(
        IntakeConfig(
            policy="p",
            rollouts_per_step=rollouts,
            max_staleness=staleness,
            max_held_bytes=held_bytes,
            stale=stale,
        ),
        fitness=fitness,
    )


def ids(batch: list[TrainableGroup]) -> list[str]:
    return [group.credits.group_id for group in batch]


def sample(group: str, rollout: int, version: int = 0, policy: str = "p") -> Sample:
    return Sample(
        sample_id=f"{group}-{rollout}/a/s/0",
        rollout_id=f"{group}-{rollout}",
        attempt="a",
        group_id=group,
        policy=policy,
        prompt_ids=np.arange(3, dtype="<u4").tobytes(),
        sampled_ids=np.arange(2, dtype="<u4").tobytes(),
        logprobs=np.zeros(2, "<f4").tobytes(),
        run_versions=[version],
        run_lengths=[2],
    )


def credits(group: str, size: int = 2, outcome: str = "train", version: int = 10) -> Credits:
    rollouts = [f"{group}-{i}" for i in range(size)]
    return Credits(
        group_id=group,
        group_size=size,
        policy="p",
        rule="r@1",
        credit="grpo@1",
        version=version,
        outcome=outcome,
        members=[
            Member(rollout_id=r, attempt="a", episode_version=5, status="used", reward=float(i))
            for i, r in enumerate(rollouts)
        ],
        samples=[
            SampleCredit(sample_id=f"{r}/a/s/0", rollout_id=r, attempt="a", advantage=1.0)
            for r in rollouts
        ],
    )


def at(topic: str, offset: int, partition: int = 0, log_time: int = 0) -> Position:
    return Position(topic, partition, offset, log_time)


def feed(core: Intake, group: str, version: int = 0, size: int = 2) -> list[Outcome]:
    for i in range(size):
        core.add_sample(sample(group, i, version), at("s", i))
    return core.add_credits(credits(group, size), at("c", 0), NOW)


def after_a_restart() -> Intake:
    """An intake that knows nothing yet of what was decided before RESTART."""
    return Intake(IntakeConfig(policy="p", rollouts_per_step=2), 0, Decided(RESTART))


def trained_before(core: Intake, record: Sample | Credits, position: Position) -> None:
    """The past that the record needs is looked up: group g was trained."""
    span = core.needs(record, position)
    assert span is not None
    core.restore(span, {("default", "g"): Decision(10, trained=True, log_time=span.since)})
    assert core.needs(record, position) is None
