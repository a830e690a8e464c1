"""The built-in patterns. Data, and checks of what a pattern alone cannot tell. Pure, stdlib only.

Expressions are RE2's: they have no look-around, so what must not stand beside a value is looked at
by its check.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""What a pattern may be called."""

Found = tuple[int, int]
"""Begin and end of a value, in bytes of UTF-8."""
Check = Callable[[bytes, int, int], list[Found]]
"""(text, begin, end of what an expression found) -> the values in it, in order."""


def _no_word_follows(text: bytes, start: int, end: int) -> list[Found]:
    """What is not the beginning of an id."""
    return [] if text[end : end + 1].isalnum() else [(start, end)]


def _whole(_text: bytes, start: int, end: int) -> list[Found]:
    return [(start, end)]


def _as_it_is(value: str) -> str:
    return value


def _digits(value: str) -> str:
    return "".join(char for char in value if char.isdigit())


def _alphanumerics(value: str) -> str:
    return "".join(char for char in value if char.isalnum()).upper()


@dataclass(kw_only=True, slots=True, frozen=True)
class Pattern:
    """One kind of value to replace."""

    expression: str
    """RE2; of one with a group the first group is the value."""
    check: Check = _whole
    is_row: bool = False
    """Whether nothing can begin inside of what the expression finds but what `check` tells."""
    same: Callable[[str], str] = _as_it_is
    """What of a value makes it equal to another one, for pseudonyms."""


def _luhn(digits: bytes) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = digit - 48
        if place % 2:
            number = number * 2 - 9 * (number > 4)
        total += number
    return total % 10 == 0


_ISSUERS = re.compile(
    rb"4|5[0-8]|6|3[0-9]|2[0-9]{3}"
)  # by the first digits: Visa, Mastercard, Maestro, Discover, UnionPay, Amex, Diners, JCB
_GROUP = re.compile(rb"[0-9]+")
_WORD, _WORD_END = re.compile(rb"[0-9A-Za-z]{1,32}"), re.compile(rb"[0-9A-Za-z]+\Z")
_CARD = range(13, 20)


def _cards(text: bytes, start: int, end: int) -> list[Found]:
    """Card numbers among groups of digits: 13 to 19 digits with Luhn's check digit."""
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    found: list[Found] = []
    at = 0
    while at < len(groups):
        last = _card_from(text, groups, at)
        if last is not None and not _is_hex(text, groups[at][0], groups[last][1]):
            found.append((groups[at][0], groups[last][1]))
            at = last
        at += 1
    return found


def _is_hex(text: bytes, start: int, end: int) -> bool:
    """Whether digits are part of a longer hexadecimal number, as ids are."""
    before, after = _WORD_END.search(text[max(0, start - 32) : start]), _WORD.match(text, end)
    around = (before[0] if before else b"") + (after[0] if after else b"")
    return bool(around) and not around.strip(b"0123456789abcdefABCDEF")


def _card_from(text: bytes, groups: list[Found], first: int) -> int | None:
    """The last group of the longest card number that begins with a group."""
    digits, longest = b"", None
    for at in range(first, len(groups)):
        digits += text[slice(*groups[at])]
        if len(digits) >= _CARD.stop:
            break
        if len(digits) in _CARD and _ISSUERS.match(digits) and _luhn(digits):
            longest = at
    return longest


# Countries by length: SWIFT, IBAN Registry.
_IBAN = {
    15: "NO", 16: "BE BI", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR",
    27: "DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA",
    30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_LENGTHS = {code: length for length, codes in _IBAN.items() for code in codes.split()}


def _ibans(text: bytes, start: int, end: int) -> list[Found]:
    """An IBAN of its country's length whose check digits are right (ISO 13616: mod 97 is 1)."""
    length = _IBAN_LENGTHS.get(text[start : start + 2].decode().upper(), 0)
    letters, at = "", start
    while at < end and len(letters) < length:
        char = chr(text[at])
        letters += char.upper() if char.isalnum() else ""
        at += 1
    if not length or len(letters) < length or text[at : at + 1].isalnum():
        return []
    rotated = letters[4:] + letters[:4]
    return [(start, at)] if int("".join(str(int(c, 36)) for c in rotated)) % 97 == 1 else []


def _ipv4(text: bytes, start: int, end: int) -> list[Found]:
    """Four numbers up to 255; of a longer row, as versions and object ids have, none."""
    if start and text[start - 1 : start] == b".":
        return []
    parts = text[start:end].split(b".")
    return [(start, end)] if len(parts) == 4 and all(int(part) < 256 for part in parts) else []


def _ipv6(text: bytes, start: int, end: int) -> list[Found]:
    """What the standard library reads as an address, but for short ones as a::b."""
    row = text[start:end]
    if row.startswith(b":") and not row.startswith(b"::"):
        start += 1
    elif start and (text[start - 1 : start].isalnum() or text[start - 1] == 95):
        return []  # the end of a word, as in std::abs
    if not row.endswith(b"::"):
        end = start + len(text[start:end].rstrip(b".:"))
    groups = [part for part in text[start:end].split(b":") if part]
    is_short = len(groups) < 8 and max(map(len, groups), default=0) < 3
    if len(groups) < 2 or is_short or end - start > 45:
        return []
    try:
        IPv6Address(text[start:end].decode())
    except AddressValueError:
        return []
    return [(start, end)]


def _credential(text: bytes, start: int, end: int) -> list[Found]:
    """What is no word: `basic knowledge` holds no credential."""
    value = text[start:end]
    return [(start, end)] if len(value) >= 20 or any(48 <= byte < 58 for byte in value) else []


_KEYS = (
    r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or|svcacct|admin|lf)[-_][A-Za-z0-9_\-]{16,}",
    r"\bsk-[A-Za-z0-9_\-]{20,}",
    r"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}\b",
    r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    r"\bgithub_pat_[A-Za-z0-9_]{22,}",
    r"\bglpat-[A-Za-z0-9_\-]{20,}",
    r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}",
    r"\bAIza[A-Za-z0-9_\-]{35}",
    r"\bya29\.[A-Za-z0-9_\-.]{20,}",
    r"\bhf_[A-Za-z0-9]{30,}",
    r"\b(?:npm|dop_v1|pypi|hvs|r8|gsk|xai)[_\-.][A-Za-z0-9_\-]{32,}",
    r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]+",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[A-Za-z0-9+/=\s\\]*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
)

BUILTIN: dict[str, Pattern] = {
    "email": Pattern(
        expression=r"[\pL\pN._%+\-]+(?:@|%40)(?:[\pL\pN\-]+\.)+\pL[\pL\pN\-]+",
        same=str.casefold,
    ),
    "api_key": Pattern(expression="|".join(_KEYS)),
    "bearer": Pattern(
        expression=r"(?i)\b(?:bearer|basic)[ \t]+([a-z0-9\-._~+/]{8,}=*)", check=_credential
    ),
    "iban": Pattern(
        expression=r"(?i)\b[a-z]{2}[0-9]{2}(?:[ \-]?[a-z0-9]){11,30}",
        check=_ibans,
        same=_alphanumerics,
    ),
    "credit_card": Pattern(
        expression=r"[0-9](?:[ \-]?[0-9]){12,}", check=_cards, is_row=True, same=_digits
    ),
    "phone": Pattern(
        expression=(
            r"(?:\+|\b00)[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}"
            r"|\(?\b[2-9][0-9]{2}\)?[ .\-]{1,2}[0-9]{3}[ .\-][0-9]{4}\b"
            r"|\b0[0-9](?:[ .\-][0-9]{2}){4}\b"
            r"|\b0[1-9][0-9]{1,4}[ /\-]{1,3}[0-9]{2,}(?:[ \-]?[0-9]){3,8}\b"
        ),
        check=_no_word_follows,
        same=_digits,
    ),
    "ipv4": Pattern(
        expression=r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:\.[0-9]+)*\b", check=_ipv4, is_row=True
    ),
    "ipv6": Pattern(
        expression=r"(?i)[0-9a-f:]*:[0-9a-f]*:[0-9a-f:]*(?:\.[0-9]{1,3}){0,3}",
        check=_ipv6,
        is_row=True,
        same=str.casefold,
    ),
}
"""By name, in the order in which they count where two find one place."""
