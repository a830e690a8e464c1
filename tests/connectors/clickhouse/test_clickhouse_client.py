"""The client's configuration, errors, retries and Arrow types; no server."""

import threading

import certifi
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.clickhouse import (
    ClickHouse,
    ClickHouseConfig,
    ClickHouseError,
    ClickHouseRejected,
    ClickHouseUnavailable,
    retrying,
)
from headrace.connectors.clickhouse.arrow_types import plain


@pytest.mark.parametrize(
    "url", ["localhost:8123", "ftp://localhost", "http://", "http://me:hush@localhost:8123"]
)
def test_bad_urls_are_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"\[clickhouse\] url") as caught:
        ClickHouseConfig(url=url)
    assert "hush" not in str(caught.value)


def test_the_password_is_in_no_repr() -> None:
    config = ClickHouseConfig(password="hush")
    assert "hush" not in repr(config) + repr(ClickHouse(config))


def test_a_server_that_is_away_is_unavailable_and_nothing_is_sent_before_the_first_call() -> None:
    client = ClickHouse(ClickHouseConfig(url="http://127.0.0.1:1"))
    with pytest.raises(ClickHouseUnavailable):
        client.query("SELECT 1")
    client.close()


def test_retrying_repeats_until_it_works_and_tells_each_wait() -> None:
    failures: list[ClickHouseError] = [ClickHouseUnavailable("a"), ClickHouseUnavailable("b")]
    told: list[str] = []

    def call() -> int:
        if failures:
            raise failures.pop(0)
        return 7

    result = retrying(
        call, on_wait=lambda error: told.append(str(error)), stop=threading.Event(), delay=0
    )
    assert (result, told) == (7, ["a", "b"])


def test_retrying_does_not_repeat_what_was_rejected() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise ClickHouseRejected("no", 62)

    with pytest.raises(ClickHouseRejected):
        retrying(call, on_wait=lambda _: None, stop=threading.Event(), delay=0)
    assert len(calls) == 1


def test_retrying_gives_up_once_it_is_told_to_stop() -> None:
    stop = threading.Event()

    def call() -> None:
        raise ClickHouseUnavailable("away")

    with pytest.raises(ClickHouseUnavailable):
        retrying(call, on_wait=lambda _: stop.set(), stop=stop, delay=60)


NAMES = st.lists(st.text("ab'\\,=() 1", min_size=1, max_size=5), min_size=1, unique=True)


@given(NAMES, st.lists(st.integers(0, 5), max_size=8))
def test_enums_come_back_as_their_names(names: list[str], picks: list[int]) -> None:
    entries = ", ".join(
        "'" + name.replace("\\", "\\\\").replace("'", "\\'") + f"' = {number - 3}"
        for number, name in enumerate(names)
    )
    wanted = [names[pick % len(names)] for pick in picks]
    numbers = pa.array([names.index(name) - 3 for name in wanted], pa.int8())
    lists = pa.array([numbers.to_pylist(), None], pa.list_(pa.field("item", pa.int8(), False)))
    types = {"e": f"LowCardinality(Nullable(Enum8({entries})))", "l": f"Array(Enum8({entries}))"}
    table = plain(pa.table({"e": numbers}), lambda: types)
    assert table.column("e").to_pylist() == wanted
    assert table.schema.field("e").type == pa.string()
    table = plain(pa.table({"l": lists}), lambda: types)
    assert table.column("l").to_pylist()[0] == wanted
    assert table.schema.field("l").type == pa.list_(pa.string())


def test_numbers_that_are_numbers_stay_so() -> None:
    table = pa.table({"a": pa.array([1], pa.int8()), "t": pa.array([2], pa.uint32())})
    assert plain(table, lambda: {"a": "Int8", "t": "UInt32"}).equals(table)
    read = plain(table, lambda: {"a": "Int8", "t": "DateTime('Asia/Tokyo')"})
    assert read.schema.field("t").type == pa.timestamp("s", "UTC")


def test_types_are_only_asked_for_where_they_matter() -> None:
    def asked() -> dict[str, str]:
        raise AssertionError("no column needs it")

    table = pa.table({"s": ["x"], "n": pa.array([1], pa.uint64()), "f": [[1.5]]})
    assert plain(table, asked).equals(table)


def test_time_zones_are_named_utc_and_instants_kept() -> None:
    table = pa.table({"t": pa.array([123], pa.timestamp("ns", "Etc/UTC"))})
    read = plain(table, dict)
    assert read.schema.field("t").type == pa.timestamp("ns", "UTC")
    assert read.column("t").cast(pa.int64()).to_pylist() == [123]


def test_an_https_server_on_this_machine_is_checked_against_the_authorities_that_are_named() -> (
    None
):
    named = ClickHouseConfig(url="https://localhost:8443", ssl_ca_location=certifi.where())
    direct = ClickHouse(named)._direct
    assert direct is not None
    assert direct.connection_pool_kw["ca_certs"] == certifi.where()
    assert direct.connection_pool_kw["cert_reqs"] == "CERT_REQUIRED"
