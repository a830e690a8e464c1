"""Whatever is sent to an API, it is answered or refused in that API's form; nothing breaks."""

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.connectors.gateway.dialects.bodies import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    MESSAGES,
    RESPONSES,
    json_values,
    mutated,
)

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

VALID = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETIONS,
    "/v1/embeddings": EMBEDDINGS,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": MESSAGES,
    "/v1/responses": RESPONSES,
    "/v1/responses/input_tokens": RESPONSES,
}
QUICK = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # a gateway keeps no state of them
)


PLACES = [
    *("x-headrace-project", "x-headrace-rollout", "x-headrace-attempt", "x-headrace-agent"),
    *("x-rollout-id", "x-attempt-id", "x-headrace-parent", "x-headrace-hide", "traceparent"),
    *("authorization", "x-api-key", "x-stainless-retry-count", "idempotency-key", "x-request-id"),
]
placed = st.dictionaries(
    st.sampled_from(PLACES),
    st.sampled_from(["r-1", "a-1", "", "..", "Bearer k/rollout/r/attempt/a", "9" * 400, "0" * 16])
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    max_size=5,
)


def check(gateway: "Harness", path: str, content: bytes, **headers: str) -> None:
    headers["content-type"] = "application/json"
    answer = gateway.post(path, content=content, headers=headers)
    if answer.status_code == 200:
        assert answer.content
        return
    assert 400 <= answer.status_code < 500
    told = answer.json()
    assert told["error"]["message"]
    assert (told.get("type") == "error") is path.startswith("/v1/messages")


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(data=st.data())
def test_a_changed_body_is_answered_or_refused(
    gateway: "Harness", path: str, data: st.DataObject
) -> None:
    body: dict[str, Any] = data.draw(mutated({**VALID[path], "stream": data.draw(st.booleans())}))
    check(gateway, path, json.dumps(body).encode())


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(content=st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_other_body_is_refused(gateway: "Harness", path: str, content: bytes) -> None:
    check(gateway, path, content)


@pytest.mark.parametrize("path", VALID)
@QUICK
@given(headers=placed)
def test_whatever_headers_say_of_the_place_is_heeded_or_refused(
    gateway: "Harness", path: str, headers: dict[str, str]
) -> None:
    check(gateway, path, json.dumps(VALID[path]).encode(), **headers)
