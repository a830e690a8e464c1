"""What a restarted trainer makes of the committed past."""

from dataclasses import replace

from headrace.schemas import Offset, Outcome, PolicyVersion
from headrace.trainer.intake import Decision
from headrace.trainer.recover import Past


def past() -> Past:
    return Past(policy="p", trainer="main", publishes="p")


def test_the_newest_version_is_gone_on_from_at_its_offsets() -> None:
    found = past()
    for number in (0, 2, 1):
        offsets = [Offset(topic="headrace.samples", partition=3, offset=10 * number)]
        found.add_version(PolicyVersion(policy="p", version=number, offsets=offsets))
    found.add_version(PolicyVersion(policy="other", version=9))
    found.add_version(None)  # a traffic record

    assert found.last is not None
    assert found.last.version == 2
    assert found.offsets == {("headrace.samples", 3): 20}


def test_before_the_first_version_everything_is_read() -> None:
    assert past().last is None
    assert past().offsets == {}


def test_a_group_is_trained_if_any_of_its_samples_was_whatever_the_order() -> None:
    found = past()
    base = Outcome(project="x", group_id="g", policy="p", trainer="main")
    found.add_outcome(replace(base, outcome="dropped", credits_version=7))
    found.add_outcome(replace(base, outcome="trained", credits_version=7))
    found.add_outcome(replace(base, outcome="revised", credits_version=9))

    assert found.decided == {("x", "g"): Decision(credits_version=9, trained=True)}


def test_what_other_trainers_and_policies_decided_does_not_count() -> None:
    found = past()
    found.add_outcome(Outcome(group_id="g", policy="p", trainer="shadow"))
    found.add_outcome(Outcome(group_id="g", policy="other", trainer="main"))

    assert found.decided == {}
