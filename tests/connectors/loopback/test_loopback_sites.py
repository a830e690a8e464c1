"""Who may ask a server on loopback while nobody needs a key."""

import pytest

from headrace.connectors.loopback import is_loopback, is_loopback_url, refusal

LOCAL = ("localhost", "LOCALHOST", "localhost.", "app.localhost", "127.0.0.1", "127.8.9.10", "::1")
ELSEWHERE = (
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "notlocalhost",
    "0.0.0.0",
    "10.0.0.1",
    "::",
    "2001:db8::1",
    "",
)


@pytest.mark.parametrize("name", [*LOCAL, "[::1]", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1"])
def test_names_of_this_machine(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize("name", [*ELSEWHERE, "::ffff:10.0.0.1"])
def test_names_of_other_machines(name: str) -> None:
    assert not is_loopback(name)


def test_a_url_is_judged_by_its_host() -> None:
    assert is_loopback_url("http://[::1]:8000/v1")
    assert not is_loopback_url("http://127.0.0.1@evil.example/")
    assert not is_loopback_url("http://[half")


def asked(method: str, **headers: str) -> str | None:
    return refusal(
        method,
        [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    )


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("port", ["", ":8000"])
def test_clients_that_are_no_browsers_pass(method: str, port: str) -> None:
    assert asked(method) is None  # HTTP/1.0
    for name in ("localhost", "127.0.0.1", "127.8.9.10", "[::1]", "app.localhost"):
        assert asked(method, host=f"{name}{port}") is None


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example:8000",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "evil.example/127.0.0.1",
        "127.0.0.1 evil.example",
        "0.0.0.0:8000",
        "[2001:db8::1]:8000",
        "",
        ":8000",
    ],
)
def test_another_name_for_this_machine_is_refused(method: str, host: str) -> None:
    assert asked(method, host=host)
    # DNS rebinding: for the browser it is all one site.
    assert asked(method, host=host, origin=f"http://{host}", sec_fetch_site="same-origin")


def test_every_host_header_counts() -> None:
    assert refusal("GET", [(b"host", b"127.0.0.1"), (b"host", b"evil.example")])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "file://", ""]
)
def test_pages_of_other_sites_are_refused(method: str, origin: str) -> None:
    assert asked(method, host="127.0.0.1:8000", origin=origin)


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_browsers_that_send_no_origin_tell_the_site(method: str) -> None:
    assert asked(method, host="127.0.0.1:8000", sec_fetch_site="cross-site")


def test_pages_of_another_port_may_read_and_not_write() -> None:
    for headers in (
        {"origin": "http://127.0.0.1:3000", "sec_fetch_site": "same-site"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://localhost:8000"},  # the same port of another name is another origin
        {"sec_fetch_site": "same-site"},
    ):
        assert asked("GET", host="127.0.0.1:8000", **headers) is None
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert asked(method, host="127.0.0.1:8000", **headers)


def test_a_page_of_its_own_may_write() -> None:
    own = {"host": "localhost:8000", "origin": "http://localhost:8000"}
    assert asked("POST", **own, sec_fetch_site="same-origin") is None
    assert asked("GET", host="localhost:8000", sec_fetch_site="none") is None  # typed by its user
