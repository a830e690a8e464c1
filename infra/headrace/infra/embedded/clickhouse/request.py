"""What one HTTP request asks for, apart from its body."""

import base64
import binascii
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from headrace.infra.embedded.clickhouse.config import ServerConfig
from headrace.infra.embedded.clickhouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    QueryError,
)

# Parameters of the HTTP interface itself, and settings that only the interface would act on.
_TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "user",
        "password",
        "compress",
        "decompress",
        "buffer_size",
        "http_response_buffer_size",
        "wait_end_of_query",
        "http_wait_end_of_query",
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "add_http_cors_header",
        "http_zlib_compression_level",
        "http_native_compression_disable_checksumming_on_decompress",
    ]
)
_BUFFER = 1 << 20  # ClickHouse's own
_MOST_BUFFER = 64 << 20
_EXTERNAL = ("_format", "_structure", "_types")


@dataclass(kw_only=True, slots=True, frozen=True)
class Request:
    """A request to run a statement. Header names are lower case."""

    method: str
    headers: Mapping[str, str]
    values: Mapping[str, str]
    """The URL's parameters, and a form's fields over them."""
    query_id: str
    database: str

    @property
    def query(self) -> bytes:
        return self.values.get("query", "").encode("utf-8", "surrogateescape")

    @property
    def binds(self) -> dict[str, str]:
        """`param_*`, in the escaped form in which HTTP carries them (`\\N` is NULL)."""
        return {
            name.removeprefix("param_"): value
            for name, value in self.values.items()
            if name.startswith("param_")
        }

    @property
    def settings(self) -> dict[str, str]:
        """What is left for the engine once transport parameters are taken away."""
        return {
            name: value
            for name, value in self.values.items()
            if name not in _TRANSPORT
            and not name.startswith("param_")
            and not (self.is_form and name.endswith(_EXTERNAL) and self._is_external(name))
        }

    @property
    def is_form(self) -> bool:
        return self.headers.get("content-type", "").lower().startswith("multipart/form-data")

    @property
    def default_format(self) -> str:
        named = self.values.get("default_format") or self.headers.get("x-clickhouse-format")
        return named or "TabSeparated"

    @property
    def is_whole(self) -> bool:
        """Whether its answer is sent only once it is complete."""
        return self.flag("wait_end_of_query") or self.flag("http_wait_end_of_query")

    @property
    def buffer_bytes(self) -> int:
        """How much of an answer is gathered before it begins, so that errors have their status."""
        named = self.values.get("buffer_size") or self.values.get("http_response_buffer_size", "")
        return min(int(named), _MOST_BUFFER) if named.isdecimal() else _BUFFER

    def flag(self, name: str) -> bool:
        return self.values.get(name, "0").lower() in ("1", "true")

    def with_fields(self, fields: Mapping[str, str]) -> "Request":
        """The request with a form's fields over the URL's parameters."""
        return Request(
            method=self.method,
            headers=self.headers,
            values={**self.values, **fields},
            query_id=self.query_id,
            database=self.database,
        )

    def _is_external(self, name: str) -> bool:
        """`x_format` describes table x only beside `x_structure` or `x_types`, or alone."""
        stem = next(name.removesuffix(end) for end in _EXTERNAL if name.endswith(end))
        return f"{stem}_structure" in self.values or f"{stem}_types" in self.values


def read(scope: Mapping[str, Any], config: ServerConfig) -> Request:
    """Reads the ASGI scope.

    Raises:
        QueryError: 516 for a wrong user or password, 36 for an Authorization header that cannot
            be read.
    """
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    pairs = parse_qsl(
        scope["query_string"].decode("ascii", "surrogateescape"),
        keep_blank_values=True,
        errors="surrogateescape",
        max_num_fields=10_000,
    )
    values = dict(pairs)
    _authenticate(headers, values, config)
    database = values.get("database") or headers.get("x-clickhouse-database") or config.database
    return Request(
        method=scope["method"],
        headers=headers,
        values=values,
        query_id=values.get("query_id") or str(uuid.uuid4()),
        # `default` is what drivers send when nothing is configured; the engine's own `default`
        # shows the owner's files and fails under the grants.
        database=config.database if database == "default" else database,
    )


def _authenticate(
    headers: Mapping[str, str], values: Mapping[str, str], config: ServerConfig
) -> None:
    user, password = _credentials(headers, values)
    known = hmac.compare_digest(user.encode(), config.user.encode())
    right = not config.password or hmac.compare_digest(password.encode(), config.password.encode())
    if not (known and right):
        raise QueryError(
            AUTHENTICATION_FAILED,
            f"{user}: Authentication failed: password is incorrect, or there is no user with such "
            "name. (AUTHENTICATION_FAILED)",
        )


def _credentials(headers: Mapping[str, str], values: Mapping[str, str]) -> tuple[str, str]:
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            text = base64.b64decode(token, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise QueryError(
                BAD_ARGUMENTS, "The Authorization header is not valid Basic. (BAD_ARGUMENTS)"
            ) from error
        user, _, password = text.partition(":")
        return user or "default", password
    return values.get("user") or "default", values.get("password", "")
