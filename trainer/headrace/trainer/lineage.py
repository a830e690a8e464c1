"""Which version came from which: staleness is the distance along the ancestry. Pure."""

from collections.abc import Iterator


class Lineage:
    """Versions are numbered as they come; each has one parent, the one before unless it branched.

    `head` is the version whose weights are trained on next: the newest, or the one that is served
    where that is pinned.
    """

    def __init__(self, newest: int = 0) -> None:
        self.newest = newest
        self.pinned: int | None = None
        """The version that traffic is kept on; None: the newest is served."""
        self._branched: dict[int, int] = {}
        """Parents, where they are not the version before."""

    @property
    def head(self) -> int:
        """The version that the next one is trained from."""
        return self.newest if self.pinned is None else self.pinned

    def branched(self, version: int, parent: int) -> None:
        """A version's parent, as its record says."""
        if 0 <= parent != version - 1:
            self._branched[version] = parent

    def stepped(self) -> None:
        """A version was made from the head."""
        parent = self.head
        self.newest += 1
        self.branched(self.newest, parent)

    def age(self, version: int) -> int | None:
        """Steps from a version to the head; None: it is no ancestor of it."""
        for steps, one in enumerate(self.ancestors(self.head)):
            if one <= version:
                return steps if one == version else None
        return None

    def oldest_within(self, steps: int) -> int:
        """The version so many steps before the head; below 0 where there is none."""
        version = self.head
        for steps_back, one in enumerate(self.ancestors(self.head)):
            version = one
            if steps_back == steps:
                return version
        return version - 1

    def ancestors(self, version: int) -> Iterator[int]:
        """A version and all that it came from, back to 0."""
        while version >= 0:
            yield version
            version = self._branched.get(version, version - 1)
