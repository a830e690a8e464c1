"""Sampled tokens with their texts, in classes for the colours of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.infra.terminal.signs import signs

MOST = 500
"""Tokens of a call that are shown."""
AT_ONCE = 4_000
"""Tokens of an episode that are shown unasked."""
COLOURS = ("log-probability", "advantage", "version")
ANNOTATED = ("gap", "entropy")
"""Colours of what a trainer wrote down of a sample ([trainer] annotate)."""
LEGENDS: Mapping[str, str] = {
    "log-probability": "the more of an underline, the less likely: from 90 %, 50 %, 10 %, 1 %, "
    "under 1 %",
    "advantage": "an underline below zero, an overline above it, the more colour the larger: from "
    "0.05, 0.5, 1.5",
    "version": "the ground changes where another version went on",
    "gap": "what the trainer made of it: an overline where likelier, an underline where less "
    "likely, the more colour the further off: from 0.02, 0.1, 0.5 nats",
    "entropy": "the more of an underline, the less certain the trainer was: from 0.1, 0.5, 1, 2 "
    "nats",
}
"""Colour -> how it is read."""
# Log-probabilities from which a token is in the next class: 90, 50, 10 and 1 per cent.
_BOUNDS = (-0.105, -0.693, -2.303, -4.605)
_GAINS = (0.05, 0.5, 1.5)
_GAPS = (0.02, 0.1, 0.5)
_ENTROPIES = (0.1, 0.5, 1.0, 2.0)
_DRAWN = str.maketrans({"\n": "⏎", "\t": "⇥"})


@dataclass(kw_only=True, slots=True, frozen=True)
class Token:
    """One sampled token as the page shows it; None: not recorded."""

    id: int
    text: str
    """Drawn; bytes that are no whole characters in hex; the id where no text is known."""
    logprob: float | None
    version: int | None
    advantage: float | None
    """Its call's, times its own weight."""
    trainer_logprob: float | None
    gap: float | None
    entropy: float | None
    masked: bool
    """The trainer left it out of the loss."""
    run: int
    """0 and 1 by turns: another version sampled from here on."""

    def look(self, colour: str) -> str:
        """A class of the style sheet; '': none."""
        if colour == "advantage":
            return _signed(self.advantage, _GAINS)
        if colour == "gap":
            return _signed(self.gap, _GAPS)
        if colour == "entropy":
            return f"p{steps(self.entropy or 0.0, _ENTROPIES)}"
        return f"v{self.run}" if colour == "version" else f"p{surprise(self.logprob)}"

    @property
    def about(self) -> str:
        """What is known of it, in a line."""
        facts = (
            ("log-probability", self.logprob),
            ("trainer's", self.trainer_logprob),
            ("gap", self.gap),
            ("entropy", self.entropy),
            ("advantage", self.advantage),
        )
        numbers = [f"{name} {value:.3g}" for name, value in facts if value is not None]
        version = [] if self.version is None else [f"version {self.version}"]
        masked = ["masked by the trainer"] if self.masked else []
        return ", ".join([f"token {self.id}", *numbers, *version, *masked])


def tokens_of(rows: Sequence[Sequence[Any]]) -> list[Token]:
    """The tokens of a call, in their order, as `tokens.sql` gives them."""
    made: list[Token] = []
    run, before = 0, None
    for number, held, logprob, version, advantage, trainer, gap, entropy, masked in rows:
        if made and version != before:
            run = 1 - run
        before = version
        made.append(
            Token(
                id=int(number),
                text=text_of(str(held)) or f"⟨{number}⟩",
                logprob=logprob,
                version=version,
                advantage=advantage,
                trainer_logprob=trainer,
                gap=gap,
                entropy=entropy,
                masked=bool(masked),
                run=run,
            )
        )
    return made


def shown(spans: Sequence[Mapping[str, Any]], asked: str = "") -> list[str]:
    """Calls whose tokens are shown: from the first on as far as `AT_ONCE` reaches, and one that was
    asked for."""
    found, left = [], AT_ONCE
    for span in spans:
        left -= min(MOST, int(span["sampled"]))
        if span["sampled"] and (left >= 0 or span["span_id"] == asked):
            found.append(str(span["span_id"]))
    return found


def text_of(held: str) -> str:
    """The bytes of a token (hex) as they are drawn."""
    try:
        return signs(bytes.fromhex(held).decode().translate(_DRAWN))
    except UnicodeDecodeError:
        return f"⟨{bytes.fromhex(held).hex(' ').upper()}⟩"


def surprise(logprob: float | None) -> int:
    """0 (at least 90 % likely) to 4 (under 1 %); not recorded, or no number: 0."""
    return 0 if logprob is None else sum(logprob < bound for bound in _BOUNDS)


def steps(value: float, bounds: Sequence[float]) -> int:
    """How many of the bounds a value reaches."""
    return sum(value >= bound for bound in bounds)


def _signed(value: float | None, bounds: Sequence[float]) -> str:
    """`g1` to `g3` above zero, `l1` to `l3` below, by how far."""
    size = steps(abs(value or 0.0), bounds)
    return f"{'g' if (value or 0.0) > 0 else 'l'}{size}" if size else ""
