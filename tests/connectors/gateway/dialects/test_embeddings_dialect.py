"""Embeddings: requests read, answers written."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from headrace.connectors.engines.embeddings import Embeddings
from headrace.connectors.gateway.dialects.embeddings.read import MAX_INPUTS, read
from headrace.connectors.gateway.dialects.embeddings.write import write
from headrace.connectors.gateway.errors import BadRequest
from tests.connectors.gateway.dialects.scripted import openai_client

VECTORS = np.array([[0.6, 0.8], [1.0, 0.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a", ("a",)),
        (["a", "b"], ("a", "b")),
        ([1, 2], ((1, 2),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_an_input_is_text_or_token_ids_one_or_several(given: Any, expected: Any) -> None:
    assert read({"model": "m", "input": given}).inputs == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input[0]"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [[]]}, "input[0]"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a"] * (MAX_INPUTS + 1)}, "input"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"model": None}, "model"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as raised:
        read({"model": "m", "input": "a", **fields})
    assert raised.value.param == param


def test_vectors_are_numbers_or_base64() -> None:
    embeddings = Embeddings(vectors=VECTORS, tokens=7)
    plain = write(embeddings, model="m", as_base64=False)
    packed = write(embeddings, model="m", as_base64=True)
    assert plain["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    for i, row in enumerate(VECTORS):
        assert plain["data"][i]["embedding"] == row.tolist()
        unpacked = np.frombuffer(base64.b64decode(packed["data"][i]["embedding"]), dtype="<f4")
        assert unpacked.tolist() == row.tolist()


def test_the_client_reads_base64_by_itself() -> None:
    body = write(Embeddings(vectors=VECTORS, tokens=7), model="m", as_base64=True)
    client = openai_client(json.dumps(body).encode(), "application/json")
    answer = client.embeddings.create(model="m", input=["a", "b"])
    assert [one.embedding for one in answer.data] == VECTORS.tolist()
