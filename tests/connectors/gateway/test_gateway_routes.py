"""Paths as clients spell them, and requests that a web page may have sent."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from headrace.connectors.gateway.correlation import PREFIXES

if TYPE_CHECKING:
    from tests.connectors.gateway.conftest import Harness

IDS = {"rollout_id": "r", "attempt": "a", "project": "p"}
BASES = [prefix.format(**IDS) for prefix in PREFIXES]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("end", ["/", "//"])
def test_a_slash_at_the_end_changes_nothing(gateway: "Harness", base: str, end: str) -> None:
    assert gateway.chat(f"{base}/v1/chat/completions{end}").status_code == 200
    assert gateway.get(f"{base}/v1/models{end}").json()["object"] == "list"
    assert gateway.get(f"{base}/v1/models/calc{end}").json()["id"] == "calc"


@pytest.mark.parametrize("path", ["/healthz/", "/metrics/"])
def test_nor_elsewhere(gateway: "Harness", path: str) -> None:
    answer = gateway.get(path)
    assert answer.status_code == 200
    assert answer.content == gateway.get(path.rstrip("/")).content or path == "/metrics/"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/chat/completions/more",
        "/v1/chat/completion",
        "/chat/completions",
        "/rollout/r/attempt/a/",
        "/rollout/r/v1/chat/completions",
        "/rollout//attempt/a/v1/chat/completions",
        "/p/p/v1/models/",
        "/V1/models",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_what_is_not_served_is_a_404_in_openai_s_shape(
    gateway: "Harness", path: str, method: str
) -> None:
    answer = gateway.run(gateway.asend(path, method=method, json={}))
    assert answer.status_code == 404
    assert "location" not in answer.headers
    if method != "HEAD":
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        assert error["code"] == "unknown_url"
        assert "/v1" in error["message"]


@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
        ("POST", "/v1/models"),
        ("DELETE", "/v1/models/calc"),
        ("POST", "/healthz"),
    ],
)
def test_a_method_that_is_not_served_is_a_405_that_names_those_that_are(
    gateway: "Harness", method: str, path: str, end: str
) -> None:
    answer = gateway.run(gateway.asend(path + end, method=method))
    assert answer.status_code == 405
    assert answer.headers["allow"]
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_head_is_get_without_the_body(gateway: "Harness") -> None:
    for path in ("/healthz", "/v1/models", "/v1/models/"):
        answer = gateway.run(gateway.asend(path, method="HEAD"))
        assert (answer.status_code, answer.content) == (200, b"")


HOSTILE = [
    {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
    {"host": "evil.example"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"sec-fetch-site": "cross-site"},
]


@pytest.mark.parametrize("headers", HOSTILE, ids=str)
@pytest.mark.parametrize("path", ["/v1/models", "/healthz", "/metrics", "/nowhere"])
def test_without_keys_a_web_page_reads_nothing(
    gateway: "Harness", headers: dict[str, str], path: str
) -> None:
    answer = gateway.get(path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "not_from_this_machine"
    assert "HEADRACE_GATEWAY_KEYS" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [*HOSTILE, {"origin": "http://localhost:3000"}, {"sec-fetch-site": "same-site"}],
    ids=str,
)
@pytest.mark.parametrize("base", BASES)
def test_without_keys_a_web_page_writes_no_call(
    gateway: "Harness", headers: dict[str, str], base: str
) -> None:
    assert gateway.post(f"{base}/v1/chat/completions", json={}, headers=headers).status_code == 403
    assert gateway.engine.requests == []
    assert gateway.telemetry.spans == []


def test_with_keys_any_name_and_page_will_do(make_gateway: "Callable[..., Harness]") -> None:
    gateway = make_gateway(keys=("sk-one",)).serve(0)
    for headers in HOSTILE:
        bearer = {**headers, "authorization": "Bearer sk-one"}
        assert gateway.get("/v1/models", headers=bearer).status_code == 200
