"""What versions say: of whose samples they are, and how good the policy is."""

from dataclasses import replace

import pytest

from headrace.trainer.config import _published
from headrace.trainer.intake import Intake
from headrace.trainer.publish import Publisher
from headrace.trainer.trainable import IntakeConfig
from tests.trainer.taking_in import NOW, at, credits, feed, ids, intake, sample


def test_a_sample_of_a_version_that_was_never_published_is_left_out_by_name() -> None:
    core = intake()
    core.version = 3
    core.add_sample(sample("g", 0, version=3), at("s", 0))
    core.add_sample(sample("g", 1, version=9), at("s", 1))
    core.add_credits(credits("g"), at("c", 0), NOW)
    kept, dropped = core.trained(core.next_batch(), NOW)
    assert kept.outcome == "trained"
    assert (dropped.reason, dropped.detail) == (
        "future_version",
        "it names version 9, and the newest is 3",
    )


def shadow(staleness: int = 1) -> Intake:
    config = IntakeConfig(
        policy="p", trainer="shadow", rollouts_per_step=2, max_staleness=staleness
    )
    return Intake(config)


def test_a_shadow_trainers_samples_are_as_stale_as_for_the_trainer_that_is_served() -> None:
    """At half the step size it makes two versions for each of the other's."""
    core = shadow()
    for group in ("a", "b", "c"):
        feed(core, group, version=0)
    for _ in range(3):  # a third step would find the rest stale by its own count
        assert core.settle({}, NOW) == []
        core.trained(core.next_batch(), NOW)
    assert (core.version, core.sampled_from) == (3, 0)
    feed(core, "old", version=5)
    feed(core, "new", version=7)
    assert {(o.group_id, o.reason) for o in core.settle({}, NOW)} == {("old", "stale")}
    assert (ids(core.next_batch()), core.sampled_from) == (["new"], 7)


def test_the_mean_reward_counts_groups_that_are_all_right_and_no_superseded_attempt() -> None:
    """Of mixed groups alone, a success of .97 shows as .86."""
    core = intake(rollouts=2)
    feed(core, "mixed")  # rewards 0 and 1
    easy = credits("easy", outcome="zero_advantage")
    superseded = replace(easy.members[0], attempt="0", status="superseded", reward=0.0)
    members = [superseded, *(replace(member, reward=1.0) for member in easy.members)]
    core.add_credits(replace(easy, members=members), at("c", 1), NOW)
    core.add_credits(credits("held-out", outcome="eval"), at("c", 2), NOW)
    core.trained(core.next_batch(), NOW)
    assert sorted(core.rewards) == [0.0, 1.0, 1.0, 1.0]


def test_no_two_pairs_of_names_share_a_transaction_or_a_topic_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("headrace.trainer.publish.make_producer", lambda *_, **__: None)

    def transaction(policy: str, trainer: str) -> str:
        made = Publisher(None, None, None, policy=policy, trainer=trainer)  # type: ignore[arg-type]  # not asked
        return made.transactional_id

    assert transaction("a-b", "c") != transaction("a", "b-c")
    assert _published("x", "shadow") != _published("x.shadow", "main")
