"""Which policy versions are in memory, and which one unpinned requests follow."""

from collections.abc import Collection
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from headrace.connectors.engines.transformers.weights import LanguageModel, Weights


@dataclass(slots=True, eq=False)
class VersionJob:
    """A version to bring into memory; `future` is resolved when it is there (and is current)."""

    version: int
    directory: Path
    activate: bool
    future: Future[None]
    weights: Future[Weights] | None = None
    """The file being read; None before its turn, and where nothing has to be read."""


class Versions:
    """Models in memory by version, at most `limit`. Changed by the engine's thread alone."""

    def __init__(self, model: LanguageModel, version: int, directory: Path, limit: int) -> None:
        self.limit = limit
        self.current = version
        self.held: tuple[int, ...] = (version,)
        self.directories = {version: directory}
        # Oldest load first.
        self._models = {version: model}

    def model(self, version: int) -> LanguageModel:
        """The model of a version that is in memory."""
        return self._models[version]

    def has(self, version: int, directory: Path) -> bool:
        """Whether the version is in memory, from this directory."""
        return version in self._models and self.directories[version] == directory

    def victim(self, busy: Collection[int]) -> int | None:
        """The oldest version that is neither current nor busy."""
        for version in self._models:
            if version != self.current and version not in busy:
                return version
        return None

    def can_place(self, version: int, busy: Collection[int]) -> bool:
        """Whether there is a place for a version's weights now."""
        return (
            version in self._models
            or len(self._models) < self.limit
            or self.victim(busy) is not None
        )

    def place(
        self, version: int, directory: Path, weights: Weights, busy: Collection[int]
    ) -> int | None:
        """Put weights in as a version; `can_place` must hold.

        A version that is in memory is overwritten in place, else one is evicted if memory is full.

        Returns:
            The version that was evicted, None if none was.

        Raises:
            InvalidWeights: they do not fit the model; nothing changed.
        """
        evicted = None
        if version in self._models:
            model = self._models[version]
        elif len(self._models) < self.limit:
            model = self._models[self.current].copy()
        else:
            evicted = self.victim(busy)
            assert evicted is not None, "can_place was not asked"
            model = self._models[evicted]
        model.put(weights)
        if evicted is not None:
            del self._models[evicted]
        self._models[version] = model
        self.directories[version] = directory
        self.held = tuple(sorted(self._models))
        return evicted
