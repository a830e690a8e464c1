"""What the KL is taken to: the base model, a version, or the one some steps ago."""

from collections.abc import Container
from dataclasses import dataclass

from headrace.trainer.errors import ReferenceMissing
from headrace.trainer.lineage import Lineage
from headrace.trainer.policy import Policy

BASE = "base"


@dataclass(kw_only=True, slots=True, frozen=True, eq=False)
class Reference:
    """A model that is held beside the policy."""

    policy: Policy
    version: int | None
    """None: the base model."""
    name: str
    """Of its weights: `base` or `POLICY@VERSION`, and their hash."""


def needed_by(written: str, lineage: Lineage, pruned: Container[int]) -> set[int]:
    """The versions that this step, or one after it, may take its KL to."""
    if written == BASE:
        return set()
    if written.startswith("-"):
        return {_steps_back(steps, lineage, pruned) for steps in range(1 - int(written))}
    return {int(written[1:])}


def version_of(
    written: str, lineage: Lineage, known: Container[int], pruned: Container[int] = ()
) -> int | None:
    """The version that a step from the lineage's head takes its KL to; None: the base model.

    `-k` counts along the ancestry, and takes the nearest ancestor of that version whose weights
    were not pruned; there is nothing before version 0, which never is. Raises ReferenceMissing.
    """
    if written == BASE:
        return None
    if written.startswith("-"):
        return _steps_back(-int(written), lineage, pruned)
    version = int(written[1:])
    if version not in known:
        raise _missing(written, f"there is no version {version} of this policy")
    if version in pruned:
        raise _missing(written, f"the weights of version {version} were pruned")
    return version


def _steps_back(steps: int, lineage: Lineage, pruned: Container[int]) -> int:
    wanted = max(0, lineage.oldest_within(steps))
    return next((one for one in lineage.ancestors(wanted) if one not in pruned), 0)


def _missing(written: str, why: str) -> ReferenceMissing:
    return ReferenceMissing(
        f"[trainer] kl_reference is {written!r}, and {why}: name one that has its weights "
        "(`headrace sql` lists versions in `policies`), or 'base'"
    )
