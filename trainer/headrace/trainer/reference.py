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


def needed_by(written: str, lineage: Lineage) -> set[int]:
    """The versions that this step, or one after it, may take its KL to."""
    if written == BASE:
        return set()
    if written.startswith("-"):
        return {lineage.oldest_within(steps) for steps in range(1 - int(written))}
    return {int(written[1:])}


def version_of(written: str, lineage: Lineage, known: Container[int]) -> int | None:
    """The version that a step from the lineage's head takes its KL to; None: the base model.

    `-k` counts along the ancestry; there is nothing before version 0. Raises ReferenceMissing.
    """
    if written == BASE:
        return None
    if written.startswith("-"):
        return max(0, lineage.oldest_within(-int(written)))
    version = int(written[1:])
    if version not in known:
        raise ReferenceMissing(
            f"[trainer] kl_reference is {written!r}, and there is no version {version} of this "
            "policy: name one that there is (`headrace sql` lists them in `policies`), or 'base'"
        )
    return version
