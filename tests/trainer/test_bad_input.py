"""What is wrong with the input ends in a named outcome: no crash, no NaN, no silence."""

from dataclasses import replace

import numpy as np
import pytest

from headrace.schemas import Credits, CreditsBatch, Member, Sample, SampleCredit, from_avro, to_avro
from headrace.trainer.fitness import Fitness
from headrace.trainer.intake import Intake
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample

FITNESS = Fitness(vocabulary=16, token_budget=64)


@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_log_probabilities_of_another_length_cost_their_sample_alone(tokens: int) -> None:
    core = intake(fitness=FITNESS)
    torn = replace(sample("g", 0), logprobs=np.zeros(tokens, "<f4").tobytes())
    core.add_sample(torn, at("s", 0))
    core.add_sample(sample("g", 1), at("s", 1))
    core.add_credits(credits("g"), at("c", 0), NOW)
    dropped, trained = core.trained(core.next_batch(), NOW)
    assert (dropped.reason, trained.outcome) == ("bad_row", "trained")
    assert f"behaviour_logp has {tokens} of 2 tokens" in dropped.detail


NEW_IN_SAMPLES = ("finish_reason", "agent", "prompt_base")
NEW_IN_CREDITS = ("baseline", "log_first", "missing_rollouts")
NEW_IN_SAMPLE_CREDITS = ("reward", "agent", "token_weights")


def test_records_of_before_a_field_was_there_are_trained() -> None:
    """A reader's schema fills what a writer did not know with the defaults."""
    core = Intake(IntakeConfig(policy="p", rollouts_per_step=2, baseline="grpo"), fitness=FITNESS)
    for rollout in range(2):
        written = to_avro(sample("g", rollout))
        old = {name: value for name, value in written.items() if name not in NEW_IN_SAMPLES}
        core.add_sample(from_avro(Sample, old), at("s", rollout))
    written = to_avro(CreditsBatch(credits=[credits("g")]))["credits"][0]
    old = {name: value for name, value in written.items() if name not in NEW_IN_CREDITS}
    old["samples"] = [
        {name: value for name, value in one.items() if name not in NEW_IN_SAMPLE_CREDITS}
        for one in old["samples"]
    ]
    core.add_credits(from_avro(Credits, old), at("c", 0), NOW)
    outcomes = core.trained(core.next_batch(), NOW)
    assert [one.outcome for one in outcomes] == ["trained", "trained"]


def test_a_group_of_one_is_a_group() -> None:
    core = intake(rollouts=1, fitness=FITNESS)
    feed(core, "g", size=1)
    assert ids(core.next_batch()) == ["g"]
    (outcome,) = core.trained(core.next_batch(), NOW)
    assert (outcome.outcome, outcome.reward) == ("trained", 0.0)


def test_a_group_of_a_hundred_thousand_ends_member_by_member() -> None:
    """In time that grows with its members: with their square it would take an hour."""
    size = 100_000
    rollouts = [f"r{number}" for number in range(size)]
    many = Credits(
        group_id="g",
        group_size=size,
        policy="p",
        rule="r@1",
        credit="grpo@1",
        version=10,
        outcome="zero_advantage",
        members=[
            Member(rollout_id=r, attempt="a", episode_version=1, status="used", reward=float(i))
            for i, r in enumerate(rollouts)
        ],
        samples=[
            SampleCredit(sample_id=f"{r}/a/s/0", rollout_id=r, attempt="a", advantage=0.0)
            for r in rollouts
        ],
    )
    outcomes = intake().add_credits(many, at("c", 0), NOW)
    assert [o.reward for o in outcomes] == [float(number) for number in range(size)]
    assert {o.reason for o in outcomes} == {"zero_advantage"}
