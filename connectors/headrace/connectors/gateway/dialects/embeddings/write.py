"""Answers of the Embeddings API. Pure; its errors are OpenAI's."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headrace.connectors.engines.embeddings import Embeddings


def write(embeddings: Embeddings, *, model: str, as_base64: bool) -> dict[str, Any]:
    """A whole answer."""
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": i, "embedding": _vector(vector, as_base64)}
            for i, vector in enumerate(embeddings.vectors)
        ],
        "usage": {"prompt_tokens": embeddings.tokens, "total_tokens": embeddings.tokens},
    }


def _vector(vector: NDArray[np.float32], as_base64: bool) -> str | list[float]:
    if as_base64:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
