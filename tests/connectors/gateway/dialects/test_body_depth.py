"""Bodies that are nested deep are refused before anything tries to write them again."""

import json
from typing import TYPE_CHECKING

import pytest

from headrace.connectors.gateway.bodies import MAX_DEPTH

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness


@pytest.mark.parametrize(
    ("depth", "status"), [(MAX_DEPTH - 1, 200), (MAX_DEPTH, 400), (900, 400), (100_000, 400)]
)
def test_a_body_is_nested_so_deep_and_no_deeper(
    gateway: "Harness", depth: int, status: int
) -> None:
    body = {"model": "calc", "messages": [{"role": "user", "content": "1"}]}
    content = json.dumps(body)[:-1] + ', "metadata": ' + "[" * depth + "]" * depth + "}"
    answer = gateway.post(content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    if status == 400:
        assert "the body" in answer.json()["error"]["message"]


def test_a_long_flat_body_is_read(gateway: "Harness") -> None:
    messages = [{"role": "user", "content": "1"}] * 200
    assert gateway.chat(messages=messages, metadata=[[[[]]]]).status_code == 200
