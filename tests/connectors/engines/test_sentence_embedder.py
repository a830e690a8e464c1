"""Embeddings of a small model with random weights, against the formula."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, BertTokenizer

from headrace.connectors.engines import InvalidRequest, InvalidWeights
from headrace.connectors.engines.embeddings.sentences import SentenceEmbedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "one", "two", "three", "four"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of embeddings with six words, as sentence-transformers writes them."""
    place = tmp_path_factory.mktemp("sentences")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    auto: Any = AutoModel  # it has no types
    model = auto.from_config(config)
    model.save_pretrained(place)
    (place / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizer(vocab=str(place / "vocab.txt")).save_pretrained(place)
    (place / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 6}))
    (place / "1_Pooling").mkdir()
    pooling = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (place / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return place


@pytest.fixture(scope="module")
def embedder(directory: Path) -> SentenceEmbedder:
    return SentenceEmbedder(directory, "tiny")


def test_a_vector_is_the_mean_of_the_hidden_states_at_length_one(
    directory: Path, embedder: SentenceEmbedder
) -> None:
    model: Any = AutoModel.from_pretrained(directory, local_files_only=True).eval()
    for text, ids in (("one", [2, 5, 3]), ("two three four", [2, 6, 7, 8, 3])):
        with torch.inference_mode():
            mean = model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0)
        expected = (mean / mean.norm()).numpy()
        answer = embedder.embed([text])
        np.testing.assert_allclose(answer.vectors[0], expected, atol=1e-6)
        assert answer.tokens == len(ids)


def test_texts_of_any_length_together_are_what_they_are_alone(embedder: SentenceEmbedder) -> None:
    texts = ["one two three", "four", "two one", "three"] * 20
    together = embedder.embed(texts).vectors
    assert together.shape == (80, embedder.dimensions)
    alone = np.concatenate([embedder.embed([text]).vectors for text in texts[:4]])
    np.testing.assert_allclose(together[:4], alone, atol=1e-6)
    np.testing.assert_allclose(together[4:8], alone, atol=1e-6)


def test_token_ids_stand_for_their_text(embedder: SentenceEmbedder) -> None:
    np.testing.assert_allclose(
        embedder.embed([(5, 6)]).vectors, embedder.embed(["one two"]).vectors, atol=1e-6
    )


def test_what_the_model_cannot_read_is_refused(embedder: SentenceEmbedder) -> None:
    with pytest.raises(InvalidRequest, match=r"input\[1\] has 7 tokens: tiny reads up to 6"):
        embedder.embed(["one", "one two three four one"])
    with pytest.raises(InvalidRequest, match=r"input\[0\] holds token ids outside"):
        embedder.embed([(99,)])


def test_a_model_that_pools_otherwise_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    pooling = {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True}
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    with pytest.raises(InvalidWeights, match="pooling_mode_cls_token"):
        SentenceEmbedder(tmp_path, "tiny")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidWeights, match="holds no model"):
        SentenceEmbedder(tmp_path, "tiny")
