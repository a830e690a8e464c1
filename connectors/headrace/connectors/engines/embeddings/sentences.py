"""Sentence-transformers models with mean pooling, through transformers alone.

Reimers & Gurevych 2019, Sentence-BERT (arXiv:1908.10084): the mean of the last hidden states over
the text's tokens, scaled to length 1.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from headrace.connectors.engines.embeddings import Embeddings, Text
from headrace.connectors.engines.errors import InvalidRequest, InvalidWeights

_BATCH = 32
_MEAN = "pooling_mode_mean_tokens"


class SentenceEmbedder:
    """A model of a directory in memory; one text batch at a time.

    Raises:
        InvalidWeights: the directory holds no such model, or one that pools otherwise.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._name = name
        self._lock = Lock()
        _check_pooling(directory)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            self._model: Any = AutoModel.from_pretrained(
                directory, local_files_only=True, dtype=torch.float32
            ).eval()
        except (OSError, ValueError) as error:
            raise InvalidWeights(f"{directory} holds no model of embeddings: {error}") from error
        self._vocabulary = int(self._model.config.vocab_size)
        self._most = _most_tokens(directory, int(self._model.config.max_position_embeddings))

    @property
    def name(self) -> str:
        """What clients call it."""
        return self._name

    @property
    def dimensions(self) -> int:
        """Of its vectors."""
        return int(self._model.config.hidden_size)

    def embed(self, texts: Sequence[Text]) -> Embeddings:
        """The vectors of texts, in their order.

        Raises:
            InvalidRequest: a text is too long, or an id is outside the vocabulary.
        """
        ids = [self._ids(text, i) for i, text in enumerate(texts)]
        vectors = np.empty((len(ids), self.dimensions), dtype=np.float32)
        with self._lock:
            for rows in _batches(ids):
                vectors[rows] = self._forward([ids[row] for row in rows])
        return Embeddings(vectors=vectors, tokens=sum(map(len, ids)))

    def _ids(self, text: Text, index: int) -> list[int]:
        if isinstance(text, str):
            ids: list[int] = self._tokenizer(text, truncation=False)["input_ids"]
        else:
            if any(not 0 <= one < self._vocabulary for one in text):
                raise InvalidRequest(
                    f"input[{index}] holds token ids outside {self._name}'s vocabulary of "
                    f"{self._vocabulary}: send text"
                )
            ids = [self._tokenizer.cls_token_id, *text, self._tokenizer.sep_token_id]
        if len(ids) > self._most:
            raise InvalidRequest(
                f"input[{index}] has {len(ids)} tokens: {self._name} reads up to {self._most}, "
                "split it"
            )
        return ids

    def _forward(self, batch: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, batch))
        padding = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[*one, *[padding] * (longest - len(one))] for one in batch])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in batch])
        with torch.inference_mode():
            states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            vectors = torch.nn.functional.normalize(pooled, dim=1)
        array: NDArray[np.float32] = vectors.numpy()
        return array


def _batches(ids: Sequence[list[int]]) -> Iterator[list[int]]:
    """Rows to compute together: of like lengths, so that little is padding."""
    rows = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    for first in range(0, len(rows), _BATCH):
        yield rows[first : first + _BATCH]


def _check_pooling(directory: Path) -> None:
    file = directory / "1_Pooling" / "config.json"
    if not file.is_file():
        return
    pooling = json.loads(file.read_text(encoding="utf-8"))
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode") and on is True]
    if modes and modes != [_MEAN]:
        raise InvalidWeights(
            f"{directory} pools with {', '.join(modes)}: this server knows {_MEAN} alone"
        )


def _most_tokens(directory: Path, positions: int) -> int:
    file = directory / "sentence_bert_config.json"
    if not file.is_file():
        return positions
    told = json.loads(file.read_text(encoding="utf-8")).get("max_seq_length")
    return min(int(told or positions), positions)
