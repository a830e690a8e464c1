"""The words of an agent's command. Pure."""

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from headrace.connectors.commands.errors import CommandUnusable

PLACEHOLDERS = ("input", "model", "rollout")
_PLACE = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")


def words_of(text: str) -> tuple[str, ...]:
    """A command as its words, as a shell splits it; no shell ever sees it.

    Raises CommandUnusable for none, and for a quotation that has no end.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise CommandUnusable(f"the command {text!r} cannot be read: {error}") from error
    if not words:
        raise CommandUnusable("the command is empty: give one, as `python agent.py {input}`")
    return words


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The words with `{input}`, `{model}` and `{rollout}` replaced; other braces stay.

    A word stays one word whatever is put in, and what was put in is not looked at again.
    """
    return [_PLACE.sub(lambda found: values[found[1]], word) for word in words]


def agent_name(words: Sequence[str]) -> str:
    """`agent` for `python agent.py`, `mail.agent` for `python -m mail.agent`."""
    for word, after in pairwise((*words[1:], "")):
        if word == "-m" and after:
            return after
        if word.endswith(".py"):
            return Path(word).stem
    return Path(words[0]).stem
