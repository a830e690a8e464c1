"""What the patterns find, and what stands in its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.connectors.privacy.builtin import BUILTIN
from headrace.connectors.privacy.escapes import levels
from headrace.connectors.privacy.redactor import TOO_MANY, Redactor

ALL = Redactor(["all"])
KEY = "a key of 24 characters.."

FOUND = {
    "email": [
        "alice@example.com",
        "o.brien+news@mail.example.co.uk",
        "jürgen@bücher.example",
        "bob%40example.org",
    ],
    "api_key": [
        "sk-proj-abcdefghijklmnop1234",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_" + "a1" * 18,
        "xoxb-123456789012-abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "-----BEGIN PRIVATE KEY-----\nMIIB\nVQ==\n-----END PRIVATE KEY-----",
    ],
    "iban": ["DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "no93 8601 1117 947"],
    "credit_card": [
        "4111111111111111",
        "5555-5555-5555-4444",
        "3782 822463 10005",
        "4222222222222",
    ],
    "phone": ["+49 30 1234567", "+1 (212) 555-1234", "(212) 555-1234", "030 1234567"],
    "ipv4": ["10.0.0.1", "255.255.255.255"],
    "ipv6": ["2001:db8::8a2e:370:7334", "fe80::1", "::ffff:10.1.2.3"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FOUND.items() for value in values]
)
@pytest.mark.parametrize("around", ["{}", "it is {}, you see", "({})", "a\n{}\nb", '"{}"'])
def test_a_built_in_pattern_finds_its_values(name: str, value: str, around: str) -> None:
    expected = around.format(f"[{name}]")
    assert Redactor([name]).text(around.format(value)) == expected


def test_a_bearer_token_goes_and_its_word_stays() -> None:
    assert ALL.text("Authorization: Bearer abc123def456==") == "Authorization: Bearer [bearer]"


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # no check digit of Luhn's
        "1732723200000000000 and 0000000000000000",  # a time; no issuer
        "DE89370400440532013001",  # mod 97 is not 1
        "version 1.2.3.4.5 and 300.1.1.1 and v2.0.1",
        "at 10:20:30 std::vector::begin a::b ::1",
        "2024-01-02 10:20:30, 3.14159265, 12345678",
        "basic knowledge of bearer certificates",
        "sk-learn, user@host, @decorator, a@b",
        "01JRZK9X6YV3W8T5Q2N7M4B1CD",  # a ULID
        "doc 12345678-0412-4567-8901-123456789012",  # a UUID
        "chatcmpl-be71d12411111111",
        "[email] [phone:abcdefghijklmnopabcd]",  # what was replaced already
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert ALL.text(text) is text


def test_card_numbers_among_other_digits_are_found() -> None:
    assert ALL.text("12 4111 1111 1111 1111 99") == "12 [credit_card] 99"


def test_json_stays_json_and_is_read_without_its_escapes() -> None:
    held = {
        "number": 4111111111111111,
        "escaped": "jürgen@example.com",
        "inner": json.dumps({"to": json.dumps("bob@example.org")}),
        "alice@example.com": [1.50, True, None, "fine"],
    }
    assert json.loads(ALL.text(json.dumps(held, indent=1))) == {
        "number": "[credit_card]",
        "escaped": "[email]",
        "inner": '{"to": "\\"[email]\\""}',
        "[email]": [1.50, True, None, "fine"],
    }
    # Twice under one key: a parser would drop the first.
    assert ALL.text('{"a": "al\\u0069ce@example.com", "a": 1.0}') == '{"a": "[email]", "a": 1.0}'


def test_json_inside_of_other_text_is_read_without_its_escapes() -> None:
    said = 'Sure: <call>{"to": "alice\\u0040example.com", "n": "\\\\u0061@b.org"}</call>'
    assert ALL.text(said) == 'Sure: <call>{"to": "[email]", "n": "[email]"}</call>'


def test_patterns_of_ones_own_replace_their_first_group() -> None:
    own = Redactor(patterns=[r"staff=\bEMP-(\d{6})\b", "line=^secret .*$"])
    assert own.text("by EMP-123456") == "by EMP-[staff]"
    assert own.text('{"a": "secret word"}') == '{"a": "[line]"}'  # its own beginning and end


def test_equal_values_have_equal_pseudonyms_however_they_are_written() -> None:
    keyed = Redactor(["all"], key=KEY)
    one, two, other = (keyed.text(t) for t in ("A@b.org", "a@B.org", "c@b.org"))
    assert one == two != other
    assert keyed.text("4111 1111-1111 1111") == keyed.text("4111111111111111")
    assert one.startswith("[email:")
    assert keyed.text(one) is one
    assert Redactor(["email"], key=KEY + "!").text("a@b.org") != one


def test_known_pseudonym() -> None:
    # HMAC-SHA256 of "email\0a@b.org", its first 20 hexadecimal digits as letters from a.
    assert Redactor(["email"], key="x" * 16).pseudonym("email", "a@b.org") == (
        "[email:hddlkfcclhjkohimgkdk]"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a@b.cc " * 140_000,
        "[email] a@b.cc " * 60_000,
        "ab12 " * 200_000,
        '["' + "a@b.cc " * 50_000 + '"]',
    ],
)
def test_a_text_with_more_than_can_be_looked_at_goes_whole(text: str) -> None:
    assert TOO_MANY in ALL.text(text)
    assert "a@b" not in ALL.text(text)


@pytest.mark.parametrize(
    "text", ["1" * 10**6, "1.1." * 250_000, "1:" * 500_000, "a." * 500_000 + "@", "\\" * 10**6]
)
def test_a_hostile_text_is_read_to_its_end(text: str) -> None:
    # An expression that goes back and forth would not come to an end on these.
    assert Redactor(["all"], [r"own=(?:[a1.]+)+!"]).text(text) is text


@pytest.mark.parametrize("bad", ["(", "a", "A=b", "a=", "a=(?=b)", r"a=(b)\1", "a=x*"])
def test_a_pattern_that_cannot_be_is_told(bad: str) -> None:
    with pytest.raises(ValueError, match=r"RE2|give|empty"):
        Redactor(patterns=[bad])


SECRETS = [values[0] for name, values in FOUND.items() if name != "phone"]


@given(
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    secret=st.sampled_from(SECRETS),
    depth=st.integers(0, 2),
)
def test_no_form_of_json_hides_a_value(before: str, after: str, secret: str, depth: int) -> None:
    text = f"{before} {secret} {after}"
    for _ in range(depth):
        text = json.dumps({"said": text})
    redacted = ALL.text(text)
    for plain in (redacted.encode(), *levels(redacted.encode())):
        assert secret.encode() not in plain
    if depth:
        json.loads(redacted)
    assert ALL.text(redacted) == redacted


def test_every_built_in_pattern_has_a_known_answer() -> None:
    assert FOUND.keys() | {"bearer"} == BUILTIN.keys()
