"""Samples in memory until their groups are decided, and marks of those that were let go. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from headrace.schemas import Sample
from headrace.schemas.vocabulary import DropReason
from headrace.trainer.decided import GroupKey
from headrace.trainer.pinned import Pinned, Position

_SAMPLE_OVERHEAD = 1_000  # bytes of a Sample object beside its tokens


class LeftOut(NamedTuple):
    """Why a sample is not trained, though its credits would have it."""

    reason: str
    detail: str = ""


@dataclass(slots=True)
class HeldSample:
    """A sample in memory, or the mark of one that was let go."""

    sample: Sample | None
    position: Position | None
    gone: LeftOut | None = None


class Held:
    """The samples of undecided groups; what is done every turn costs no walk over all of them."""

    def __init__(self, pinned: Pinned) -> None:
        self.bytes = 0
        """Bytes of samples in memory."""
        self.count = 0
        """Samples in memory."""
        self._pinned = pinned
        self._groups: dict[GroupKey, dict[str, HeldSample]] = {}
        self._in_memory: dict[GroupKey, int] = {}
        """Groups in the order in which they appeared, and how many samples of each."""
        self._by_versions: dict[tuple[int, ...], dict[tuple[GroupKey, str], None]] = {}
        """By the versions of a sample's tokens."""

    def of(self, key: GroupKey) -> Mapping[str, HeldSample]:
        """The samples and marks of a group, by id."""
        return self._groups.get(key, {})

    def add(self, key: GroupKey, sample: Sample, position: Position) -> bool:
        """Keep a sample; false: it is here already."""
        group = self._groups.setdefault(key, {})
        if sample.sample_id in group:
            return False
        group[sample.sample_id] = HeldSample(sample, position)
        self._in_memory[key] = self._in_memory.get(key, 0) + 1
        self._by_versions.setdefault(_versions(sample), {})[key, sample.sample_id] = None
        self._pinned.add(position)
        self.bytes += _size(sample)
        self.count += 1
        return True

    def let_go(self, key: GroupKey, sample_id: str, why: LeftOut) -> None:
        """Keep a mark in place of a sample."""
        one = self._groups[key][sample_id]
        if one.sample is not None and one.position is not None:
            self._release(key, one.sample, one.position)
        one.sample, one.position, one.gone = None, None, why

    def forget(self, key: GroupKey) -> None:
        """Keep nothing of a group."""
        for one in self._groups.pop(key, {}).values():
            if one.sample is not None and one.position is not None:
                self._release(key, one.sample, one.position)

    def versions(self) -> list[tuple[int, ...]]:
        """Of the tokens of the samples in memory: each combination once, ascending."""
        return sorted(self._by_versions)

    def sampled_by(self, versions: tuple[int, ...]) -> list[tuple[GroupKey, str]]:
        """The samples of which these versions sampled the tokens."""
        return list(self._by_versions[versions])

    def excess(self, most: int) -> list[GroupKey]:
        """The groups to let go, oldest first, so that at most so many bytes are held."""
        over, found = self.bytes - most, []
        for key in self._in_memory:
            if over <= 0:
                break
            found.append(key)
            over -= sum(_size(one.sample) for one in self._groups[key].values() if one.sample)
        return found

    def clear(self) -> None:
        """Keep nothing."""
        for key in list(self._groups):
            self.forget(key)

    def _release(self, key: GroupKey, sample: Sample, position: Position) -> None:
        versions = _versions(sample)
        places = self._by_versions[versions]
        del places[key, sample.sample_id]
        if not places:
            del self._by_versions[versions]
        self._in_memory[key] -= 1
        if not self._in_memory[key]:
            del self._in_memory[key]
        self._pinned.remove(position)
        self.bytes -= _size(sample)
        self.count -= 1


def oldest_version(sample: Sample) -> int:
    """The oldest version among its tokens."""
    return min(sample.run_versions, default=0)  # a row without versions is refused by its name


def _versions(sample: Sample) -> tuple[int, ...]:
    return tuple(sorted(set(sample.run_versions)))


STALE = LeftOut(DropReason.STALE)
OFF_BRANCH = LeftOut(
    DropReason.OFF_BRANCH, "another version is served, from which training goes on"
)
MEMORY = LeftOut(DropReason.MEMORY)


def _size(sample: Sample) -> int:
    tokens = len(sample.prompt_ids) + len(sample.sampled_ids) + len(sample.logprobs)
    return tokens + _SAMPLE_OVERHEAD
