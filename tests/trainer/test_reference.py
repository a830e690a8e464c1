"""What the KL is taken to: the base model, a version, or the one some steps ago."""

import pytest

from headrace.trainer.errors import ReferenceMissing
from headrace.trainer.lineage import Lineage
from headrace.trainer.reference import version_of


def lineage(newest: int = 5) -> Lineage:
    return Lineage(newest)


def test_a_reference_is_the_base_a_version_or_steps_ago() -> None:
    known = range(6)
    assert version_of("base", lineage(), known) is None
    assert version_of("@2", lineage(), known) == 2
    assert version_of("-1", lineage(), known) == 4
    assert version_of("-9", lineage(), known) == 0


def test_steps_ago_are_counted_along_the_ancestry() -> None:
    branched = lineage()
    branched.branched(5, 1)
    assert [version_of(f"-{k}", branched, range(6)) for k in (1, 2)] == [1, 0]


def test_a_version_without_weights_is_refused_and_so_many_steps_ago_goes_further_back() -> None:
    with pytest.raises(ReferenceMissing, match=r"weights of version 2 were pruned: .* or 'base'"):
        version_of("@2", lineage(), range(6), {2})
    assert version_of("-2", lineage(), range(6), {1, 2, 3}) == 0
    assert version_of("-2", lineage(), range(6), {3}) == 2
    assert version_of("-2", lineage(), range(6), {2}) == 3
    branched = lineage()
    branched.branched(4, 1)
    assert version_of("-1", branched, range(6), {4}) == 1


def test_a_version_that_was_never_published_is_refused_with_what_to_do() -> None:
    with pytest.raises(ReferenceMissing, match=r"no version 9 .* or 'base'"):
        version_of("@9", lineage(), range(6))
