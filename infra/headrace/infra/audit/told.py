"""An audit in lines, as a person reads it. Pure."""

from collections.abc import Iterator

from headrace.infra.audit.difference import Audit

SHOWN = 10


def lines(found: Audit) -> Iterator[str]:
    """Counts by stage, notes, the first differences, and the verdict last."""
    for of, numbers in found.counts.items():
        told = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in numbers.items())
        yield f"{of:<10} {told}"
    yield from found.notes
    for one in found.differences[:SHOWN]:
        yield f"{one.kind}: {one.where}: {one.detail}"
    if (more := sum(found.found.values()) - SHOWN) > 0:
        yield f"… and {more:,} more"
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in found.found.items())
    yield f"differences: {kinds}" if kinds else "clean: nothing lost, nothing doubled"
