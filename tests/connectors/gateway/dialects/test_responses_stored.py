"""What is kept of responses, over HTTP."""

from typing import TYPE_CHECKING, Any

import openai
import pytest

from headrace.connectors.gateway.dialects.responses.memory import StoredResponse
from headrace.connectors.gateway.dialects.responses.read import read
from headrace.connectors.gateway.dialects.responses.write import write
from tests.connectors.gateway.dialects.scripted import scripted

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

ITEMS = [{"role": "user", "content": f"{i}"} for i in range(5)]


def keep(gateway: "Harness", scope: str = "default") -> dict[str, Any]:
    request = read({"model": "calc", "input": ITEMS}, max_messages=9, default_max_tokens=9)
    response = write(scripted(["3"], identity="resp_1").answer, request.repeated)
    stored = StoredResponse(
        response=response, items=request.items, conversation=request.conversation, size=99
    )
    gateway.call(gateway.state.responses.keep, scope, stored)
    return response


def test_the_client_reads_and_deletes_what_was_kept(gateway: "Harness") -> None:
    expected = keep(gateway)
    with (
        gateway.listening() as address,
        openai.OpenAI(api_key="k", base_url=f"{address}/v1", max_retries=0) as client,
    ):
        assert client.responses.retrieve("resp_1").output_text == "3"
        assert gateway.get("/v1/responses/resp_1").json() == expected
        items = list(client.responses.input_items.list("resp_1", limit=2, order="asc"))
        assert [item.content for item in items] == ["0", "1", "2", "3", "4"]  # type: ignore[union-attr]  # they are messages
        client.responses.delete("resp_1")
        with pytest.raises(openai.NotFoundError, match="resp_1"):
            client.responses.retrieve("resp_1")


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ("", "43210", False),
        ("?order=asc", "01234", False),
        ("?limit=2", "43", True),
        ("?limit=2&after=item_1_3", "21", True),
        ("?limit=2&after=item_1_1&order=asc", "23", True),
        ("?after=item_1_0", "", False),
    ],
)
def test_items_come_in_pages(gateway: "Harness", query: str, expected: str, has_more: bool) -> None:
    keep(gateway)
    page = gateway.get(f"/v1/responses/resp_1/input_items{query}").json()
    assert "".join(item["content"] for item in page["data"]) == expected
    assert page["has_more"] is has_more
    assert page["first_id"] == (page["data"][0]["id"] if expected else None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=%C2%B2", "order=up", "after=nothing"]
)
def test_a_page_that_cannot_be_is_refused(gateway: "Harness", query: str) -> None:
    keep(gateway)
    answer = gateway.get(f"/v1/responses/resp_1/input_items?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_an_answer_is_known_in_its_attempt_alone(gateway: "Harness") -> None:
    keep(gateway, "shop/r/a")
    for prefix, status in [
        ("/p/shop/rollout/r/attempt/a", 200),
        ("/p/shop/rollout/r/attempt/b", 404),
        ("/rollout/r/attempt/a", 404),
        ("", 404),
    ]:
        answer = gateway.get(f"{prefix}/v1/responses/resp_1")
        assert answer.status_code == status
    assert answer.json()["error"]["code"] == "response_not_found"
