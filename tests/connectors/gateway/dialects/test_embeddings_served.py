"""Embeddings over HTTP: a model in the gateway, an upstream's, or neither."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import openai
import pytest

from headrace.connectors.engines import InvalidRequest, InvalidWeights
from headrace.connectors.engines.embeddings import Embedder, Embeddings, Text
from headrace.connectors.engines.upstream import Upstream, UpstreamConfig
from headrace.connectors.gateway.backends.embedding import EmbeddingsBackend, LocalModel

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness


class Lengths:
    """Embeds a text as its length."""

    name, dimensions = "lengths", 2

    def embed(self, texts: Sequence[Text]) -> Embeddings:
        if "too long" in texts:
            raise InvalidRequest("input[0] is too long")
        vectors = np.array([[len(text), 1] for text in texts], dtype=np.float32)
        return Embeddings(vectors=vectors, tokens=len(texts))


def local(load: Callable[[], Embedder] = Lengths) -> EmbeddingsBackend:
    return EmbeddingsBackend(local=LocalModel("lengths", load), upstream=None)


@pytest.fixture
def embedding(gateway: "Harness") -> "Harness":
    gateway.state.embeddings = local()
    return gateway


@pytest.mark.parametrize("prefix", ["", "/p/shop/rollout/r/attempt/a"])
def test_the_client_gets_vectors_and_no_span_is_left(embedding: "Harness", prefix: str) -> None:
    with (
        embedding.listening() as address,
        openai.OpenAI(api_key="k", base_url=f"{address}{prefix}/v1", max_retries=0) as client,
    ):
        answer = client.embeddings.create(
            model="lengths", input=["a", "abc"], encoding_format="float"
        )
        packed = client.embeddings.create(model="lengths", input="ab")
    assert [one.embedding for one in answer.data] == [[1, 1], [3, 1]]
    assert packed.data[0].embedding == [2, 1]
    assert answer.usage.total_tokens == 2
    assert embedding.telemetry.spans == []


@pytest.mark.parametrize(
    ("fields", "status", "what"),
    [
        ({"model": "other"}, 404, "embeddings_model"),
        ({"dimensions": 3}, 400, "lengths has 2"),
        ({"input": "too long"}, 400, "is too long"),
        ({"input": []}, 400, "input must be"),
        ({"model": None}, 400, "model must be"),
    ],
)
def test_what_cannot_be_embedded_is_refused(
    embedding: "Harness", fields: dict[str, object], status: int, what: str
) -> None:
    answer = embedding.post("/v1/embeddings", json={"model": "lengths", "input": "a", **fields})
    assert answer.status_code == status
    assert what in answer.json()["error"]["message"]


def test_another_model_s_name_may_be_a_name_of_this_one(gateway: "Harness") -> None:
    gateway.state.embeddings = EmbeddingsBackend(
        local=LocalModel("lengths", Lengths), upstream=None, any_name=True
    )
    answer = gateway.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "a"})
    assert answer.json()["model"] == "text-embedding-3-small"
    assert answer.json()["data"][0]["embedding"] == [1, 1]


def test_a_model_is_loaded_once_and_its_failure_told(gateway: "Harness") -> None:
    loads: list[int] = []

    def load() -> Embedder:
        loads.append(1)
        if len(loads) == 1:
            raise InvalidWeights("no such folder")
        return Lengths()

    gateway.state.embeddings = local(load)
    wanted = {"model": "lengths", "input": "a"}
    failed = gateway.post("/v1/embeddings", json=wanted)
    assert (failed.status_code, failed.json()["error"]["code"]) == (502, "backend_failed")
    for _ in range(2):
        assert gateway.post("/v1/embeddings", json=wanted).status_code == 200
    assert len(loads) == 2


def test_without_a_model_the_answer_says_what_to_set(gateway: "Harness") -> None:
    answer = gateway.post("/v1/embeddings", json={"model": "text-embedding-3-small", "input": "a"})
    assert answer.status_code == 404
    for how in ("headrace[embeddings]", "embeddings_model", "upstream_url"):
        assert how in answer.json()["error"]["message"]


@pytest.fixture
def forwarding(
    make_gateway: "Callable[..., Harness]",
) -> "Iterator[tuple[Harness, Harness]]":
    """A gateway, and the one that stands in for a foreign server behind it."""
    behind = make_gateway()
    behind.state.embeddings = local()
    with behind.listening() as address:
        upstream = Upstream(UpstreamConfig(url=f"{address}/v1"))
        gateway = make_gateway()
        gateway.state.embeddings = EmbeddingsBackend(local=None, upstream=upstream)
        yield gateway, behind
        gateway.run(upstream.close())


def test_other_models_are_the_upstream_s(forwarding: "tuple[Harness, Harness]") -> None:
    gateway, behind = forwarding
    wanted = {"model": "lengths", "input": "abc", "unheard_of": 1}
    answer = gateway.post("/v1/embeddings", json=wanted)
    assert answer.json() == behind.post("/v1/embeddings", json=wanted).json()
    refused = gateway.post("/v1/embeddings", json={**wanted, "input": []})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input"


def test_an_upstream_that_is_away_is_named(gateway: "Harness") -> None:
    upstream = Upstream(UpstreamConfig(url="http://127.0.0.1:9/v1"))
    gateway.state.embeddings = EmbeddingsBackend(local=None, upstream=upstream)
    answer = gateway.post("/v1/embeddings", json={"model": "m", "input": "a"})
    gateway.run(upstream.close())
    assert answer.status_code == 502
    assert "http://127.0.0.1:9/v1/embeddings" in answer.json()["error"]["message"]
