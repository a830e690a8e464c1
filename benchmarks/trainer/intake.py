"""What a turn of the intake costs with much in memory.

`python -m benchmarks.trainer.intake` from the repository's root: no broker, no model. Milliseconds
of a turn (settle, next batch, lowest offsets, what the heartbeat asks) without news, by the samples
that are held; and of a turn in which a step of B rollouts is due.
"""

import sys
import time
from statistics import median

import numpy as np

from headrace.schemas import Credits, Member, Sample, SampleCredit
from headrace.trainer.intake import Intake
from headrace.trainer.pinned import Position
from headrace.trainer.trainable import IntakeConfig

HELD = (20_000, 50_000)
ROLLOUTS = (1_024, 8_192)
GROUP = 8
TURNS = 9


def main() -> int:
    """Prints a table."""
    print("| | ms a turn |\n|---|---|")
    for held in HELD:
        core = filled(held, rollouts_per_step=10 * held)
        print(f"| {held:,} samples held, no step due | {_median(core):.2f} |", flush=True)
    for rollouts in ROLLOUTS:
        core = filled(rollouts, rollouts_per_step=rollouts)
        print(f"| a step of {rollouts:,} rollouts is due | {_median(core):.2f} |", flush=True)
    return 0


def filled(samples: int, *, rollouts_per_step: int) -> Intake:
    """An intake that holds complete groups of so many samples together."""
    core = Intake(IntakeConfig(policy="p", rollouts_per_step=rollouts_per_step))
    for number in range(samples // GROUP):
        _feed(core, f"g{number}", number)
    return core


def _median(core: Intake) -> float:
    times = []
    for _ in range(TURNS):
        begun = time.perf_counter()
        core.settle({}, 1)
        core.next_batch()
        core.lowest_needed()
        _ = core.held_samples, core.held_bytes, core.waiting_groups, core.unbounded()
        times.append((time.perf_counter() - begun) * 1e3)
    return median(times)


def _feed(core: Intake, group: str, number: int) -> None:
    tokens = np.arange(64, dtype="<u4").tobytes()
    rollouts = [f"{group}-{i}" for i in range(GROUP)]
    for i, rollout in enumerate(rollouts):
        sample = Sample(
            sample_id=f"{rollout}/a/s/0",
            rollout_id=rollout,
            attempt="a",
            group_id=group,
            policy="p",
            prompt_ids=tokens,
            sampled_ids=tokens,
            logprobs=np.zeros(64, "<f4").tobytes(),
            run_versions=[0],
            run_lengths=[64],
        )
        core.add_sample(sample, Position("s", number % 8, number * GROUP + i))
    credits = Credits(
        group_id=group,
        group_size=GROUP,
        policy="p",
        rule="r@1",
        credit="c@1",
        version=1,
        outcome="train",
        members=[
            Member(rollout_id=one, attempt="a", status="used", reward=1.0) for one in rollouts
        ],
        samples=[
            SampleCredit(sample_id=f"{one}/a/s/0", rollout_id=one, attempt="a", advantage=1.0)
            for one in rollouts
        ],
    )
    core.add_credits(credits, Position("c", number % 8, number), 1)


if __name__ == "__main__":
    sys.exit(main())
