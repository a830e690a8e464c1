"""Why TLS failed is found under whatever a library wrapped around it."""

import ssl

import pytest

from headrace.connectors.tls import tls_fault


def wrapped(cause: BaseException) -> BaseException:
    """As urllib3 does it: one in the arguments of another, that one the context of a third."""
    try:
        try:
            raise RuntimeError("pool", cause)
        except RuntimeError:
            raise ConnectionError("no connection")  # noqa: B904  # as a context, not as a cause
    except ConnectionError as error:
        return error


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a certificate of ours"),
        ("WRONG_VERSION_NUMBER", "TLS with it fails (wrong version number)"),
        (None, "TLS with it fails (no reason given)"),
    ],
)
def test_the_reason_is_told_in_words(reason: str | None, told: str) -> None:
    cause = ssl.SSLError("x")
    cause.reason = reason  # type: ignore[assignment]  # typed as always there
    assert told in tls_fault(wrapped(cause))


def test_what_is_not_of_tls_is_nothing() -> None:
    assert tls_fault(wrapped(ConnectionRefusedError(111, "Connection refused"))) == ""
