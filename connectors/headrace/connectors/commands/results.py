"""What an agent's output says its result is. Pure."""

import json

MOST = 1_000_000
"""Characters of a result; the rest is cut."""


def result_of(text: str) -> str:
    """A result as JSON: an object or an array as it is, any other text as a string; '' for none."""
    text = text.strip()[:MOST]
    if not text:
        return ""
    if text[0] in "{[":
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return json.dumps(text, ensure_ascii=False)
        return text
    return json.dumps(text, ensure_ascii=False)


def last_line(text: str) -> str:
    """The last line that is not blank."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def how_ended(code: int) -> str:
    """An exit code in words; negative: a signal, as `subprocess` has it."""
    return f"signal {-code}" if code < 0 else f"exit code {code}"
