"""A completion's text as it grows, token by token, and where it ends. Pure; no torch."""

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headrace.connectors.engines.base import SamplingParameters
from headrace.connectors.engines.vocabulary import Vocabulary

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


@dataclass(slots=True, frozen=True)
class Ending:
    """Why and how a completion ended: the fields of Generation of the same names."""

    finish_reason: Literal["stop", "length"]
    stop: str | None
    stop_token_included: bool


class CompletionText:
    """The text of one completion. Each token costs what it adds, however long the text is.

    Bytes that are no UTF-8 read as U+FFFD, as Python's "replace" and Rust's lossy reading do it.
    """

    def __init__(self, vocabulary: Vocabulary, sampling: SamplingParameters) -> None:
        self._vocabulary = vocabulary
        self._sampling = sampling
        self._utf8 = _utf8_decoder(errors="replace")
        self._stops = StopScanner(sampling.stop, include=sampling.include_stop)
        self._tokens = 0
        self._strips = vocabulary.strips_space
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All text that is certain so far; the whole of it once the completion has ended."""
        return "".join(self._parts)

    def add(self, token: int, *, is_complete: bool = False) -> tuple[str, Ending | None]:
        """Take a sampled token in: the text that became certain, and how it ended if it did.

        Args:
            token: its id.
            is_complete: whether nothing can follow it (the constraint is fulfilled).
        """
        self._tokens += 1
        if token in self._vocabulary.end_ids:
            return self._end(Ending("stop", None, True), "")
        characters = self._characters(self._utf8.decode(self._vocabulary.shown(token)))
        if is_complete:
            return self._end(Ending("stop", None, False), characters)
        if self._tokens >= self._sampling.max_tokens:
            return self._end(Ending("length", None, False), characters)
        certain = self._stops.add(characters)
        return self._keep(certain), self._stopped()

    def _end(self, ending: Ending, characters: str) -> tuple[str, Ending]:
        certain = self._stops.add(characters)
        stopped = self._stopped()
        if stopped is None:
            # Cut off in the middle of a character, it shows as U+FFFD.
            certain += self._stops.add(self._characters(self._utf8.decode(b"", True)))
            stopped = self._stopped()
        if stopped is None:
            certain += self._stops.rest()
        elif ending.stop_token_included:
            stopped = Ending("stop", stopped.stop, True)
        return self._keep(certain), stopped or ending

    def _stopped(self) -> Ending | None:
        if self._stops.found is None:
            return None
        hides = self._stops.cut_off or bool(self._utf8.getstate()[0])
        return Ending("stop", self._stops.found, hides)

    def _characters(self, characters: str) -> str:
        if self._strips and characters:
            self._strips = False
            return characters.removeprefix(" ")
        return characters

    def _keep(self, certain: str) -> str:
        if certain:
            self._parts.append(certain)
        return certain


class StopScanner:
    """Text that streams by until a stop string comes; what may begin one is held back.

    Of stop strings that are completed by one piece of text, the one that begins first counts.
    Each character costs one step for each stop string (Knuth, Morris and Pratt, 1977).
    """

    def __init__(self, stops: Sequence[str], *, include: bool) -> None:
        """include: whether the text keeps the stop string that ended it."""
        self.found: str | None = None
        self.cut_off = False
        """Whether text was left out at the stop string."""
        self._include = include
        self._stops = stops
        self._borders = [_borders(stop) for stop in stops]
        self._matched = [0] * len(stops)
        self._held = ""

    def add(self, characters: str) -> str:
        """The text that became certain. After a stop string was found: none."""
        if self.found is not None:
            return ""
        if not self._stops or not characters:
            return characters
        text = self._held + characters
        matches = [
            (at, stop)
            for i, stop in enumerate(self._stops)
            if (at := self._match(i, characters, len(self._held))) is not None
        ]
        if matches:
            at, self.found = min(matches)
            kept = at + len(self.found) if self._include else at
            self.cut_off = kept < len(text)
            self._held = ""
            return text[:kept]
        certain = len(text) - max(self._matched)
        self._held = text[certain:]
        return text[:certain]

    def rest(self) -> str:
        """What was held back: no stop string comes any more."""
        held, self._held = self._held, ""
        return held

    def _match(self, i: int, characters: str, start: int) -> int | None:
        """Where the i-th stop string begins, if these characters complete it first."""
        stop, borders, matched = self._stops[i], self._borders[i], self._matched[i]
        for at, character in enumerate(characters, start + 1):
            while matched and stop[matched] != character:
                matched = borders[matched - 1]
            if stop[matched] == character:
                matched += 1
            if matched == len(stop):
                return at - len(stop)
        self._matched[i] = matched
        return None


def _borders(stop: str) -> list[int]:
    """Of each beginning of a stop string: how long the longest beginning is that also ends it."""
    borders = [0] * len(stop)
    length = 0
    for i in range(1, len(stop)):
        while length and stop[i] != stop[length]:
            length = borders[length - 1]
        if stop[i] == stop[length]:
            length += 1
        borders[i] = length
    return borders
