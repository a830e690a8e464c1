"""What a request asks for: settings, parameters, user, database, sessions."""

import base64
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.errors import QueryError
from headrace.infra.embedded.clickhouse.request import Request, read
from headrace.infra.embedded.clickhouse.sessions import Sessions


def config(**changes: Any) -> ServerConfig:
    return ServerConfig(**{"path": "data", **changes})


def request(
    values: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    settings: ServerConfig | None = None,
) -> Request:
    scope = {
        "method": "POST",
        "query_string": urlencode(values or {}).encode(),
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    return read(scope, settings or config())


def test_parameters_are_sorted_into_settings_binds_and_transport() -> None:
    asked = request(
        {
            "query": "SELECT 1",
            "max_threads": "2",
            "param_x": "\\N",
            "param_limit": "5",
            "session_id": "s",
            "compress": "1",
            "date_time_input_format": "best_effort",
            "send_progress_in_http_headers": "1",
        }
    )
    assert asked.query == b"SELECT 1"
    assert asked.settings == {"max_threads": "2", "date_time_input_format": "best_effort"}
    assert asked.binds == {"x": "\\N", "limit": "5"}
    assert asked.flag("compress")
    assert not asked.flag("decompress")


def test_descriptions_of_external_tables_are_no_settings() -> None:
    asked = request(
        {"x_format": "CSV", "x_structure": "a UInt8", "date_time_input_format": "basic"},
        {"content-type": "multipart/form-data; boundary=b"},
    )
    assert asked.settings == {"date_time_input_format": "basic"}


@given(st.text(max_size=50))
def test_values_arrive_as_they_were_sent(text: str) -> None:
    assert request({"param_s": text}).binds == {"s": text}


def test_an_empty_query_id_is_replaced() -> None:
    assert request({"query_id": ""}).query_id
    assert request({"query_id": "mine"}).query_id == "mine"


@pytest.mark.parametrize(
    ("values", "headers", "database"),
    [
        ({}, {}, "headrace"),
        ({"database": "default"}, {}, "headrace"),
        ({"database": "other"}, {"x-clickhouse-database": "third"}, "other"),
        ({}, {"x-clickhouse-database": "third"}, "third"),
    ],
)
def test_database(values: dict[str, str], headers: dict[str, str], database: str) -> None:
    assert request(values, headers).database == database


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("values", "headers"),
    [
        ({}, basic("default", "secret")),
        ({}, {"x-clickhouse-user": "default", "x-clickhouse-key": "secret"}),
        ({"user": "default", "password": "secret"}, {}),
        ({"password": "secret"}, {}),
    ],
)
def test_the_password_is_taken_from_each_place(
    values: dict[str, str], headers: dict[str, str]
) -> None:
    assert request(values, headers, config(password="secret"))
    with pytest.raises(QueryError, match="516"):
        request(values, headers, config(password="another"))


def test_without_a_password_only_the_user_must_be_right() -> None:
    assert request({}, basic("default", "anything"))
    with pytest.raises(QueryError, match="516"):
        request({}, basic("root", ""))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "0.0.0.0"}, "password"),
        ({"database": "default"}, "database"),
        ({"database": "a-b"}, "database"),
        ({"port": 0}, "port"),
        ({"path": "a?b"}, "path"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_configuration_names_the_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_the_password_is_not_in_the_repr() -> None:
    assert "hush" not in repr(config(password="hush"))


def test_a_session_ends_after_its_time() -> None:
    now = [0.0]
    sessions = Sessions(clock=lambda: now[0])
    asked = request({"session_id": "s", "session_timeout": "10"})
    first = sessions.of(asked)
    now[0] = 9.0
    assert sessions.of(asked) is first
    now[0] = 20.0
    assert sessions.of(asked) is not first
    with pytest.raises(QueryError, match="372"):
        sessions.of(request({"session_id": "other", "session_check": "1"}))
    assert sessions.of(request()) is None
