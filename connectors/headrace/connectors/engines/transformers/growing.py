"""A completion that is told while it grows: certain text, and increments for the caller's loop."""

import asyncio
import codecs
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from headrace.connectors.engines.base import Increment, OnIncrement, TopLogprobs

_REPLACEMENT = "\ufffd"
# A character has at most four bytes, so at most four tokens: what is a replacement for longer is
# no character that waits for its rest.
_MOST_PENDING = 4


class TokenDecoder(Protocol):
    """Turns tokens into text, one after the other."""

    def feed(self, token: int) -> str:
        """What of the text is certain now and was not before: never part of a character."""


class ByteDecoder:
    """For byte-level tokenizers: the text is the UTF-8 of its tokens' bytes."""

    def __init__(self, said: Callable[[int], bytes]) -> None:
        """said: the bytes of a token; none for special ones."""
        self._said = said
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """What is certain now."""
        return self._decoder.decode(self._said(token))


class WindowDecoder:
    """For all others: tokens are decoded in a window that begins where the text was last certain.

    As vLLM's `detokenize_incrementally`: a token costs the same however long the text is.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._read = 0
        """Tokens of the window whose text is certain."""

    def feed(self, token: int) -> str:
        """What is certain now."""
        self._window.append(token)
        known = self._decode(self._window[: self._read])
        text = self._decode(self._window)
        pending = len(self._window) - self._read
        if text.endswith(_REPLACEMENT) and pending < _MOST_PENDING:
            return ""
        # The last tokens stay: some tokenizers write a token differently at the beginning.
        self._window = self._window[self._read :]
        self._read = len(self._window)
        return text[len(known) :]


class GrowingText:
    """The text of a completion, piece by piece: never what a stop string may take back."""

    def __init__(self, decoder: TokenDecoder, stops: tuple[str, ...]) -> None:
        self._decoder, self._stops = decoder, stops
        self._held = ""
        self.told = 0
        """Characters that were given out."""

    def grow(self, token: int) -> str:
        """What is certain of the text now and was not before."""
        self._held += self._decoder.feed(token)
        certain = len(self._held) - self._may_begin_a_stop()
        said, self._held = self._held[:certain], self._held[certain:]
        self.told += len(said)
        return said

    def _may_begin_a_stop(self) -> int:
        """Characters at the end that a stop string may begin with."""
        most = max(map(len, self._stops), default=1) - 1
        for size in range(min(most, len(self._held)), 0, -1):
            end = self._held[-size:]
            if any(stop.startswith(end) for stop in self._stops):
                return size
        return 0


class Told:
    """Hands increments from the engine's thread to the loop that awaits the completion.

    Those that wait for the loop are told as one.
    """

    def __init__(self, on_increment: OnIncrement, future: "Future[Any]") -> None:
        """Belongs to the running event loop; what `on_increment` raises cancels the future."""
        self._on_increment, self._future = on_increment, future
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._waiting: list[Increment] = []
        self.error: Exception | None = None

    def put(
        self, token: int, logprob: float, version: int, top: TopLogprobs | None, text: str
    ) -> None:
        """Called by the engine's thread."""
        increment = Increment(
            token_ids=(token,),
            logprobs=(logprob,),
            versions=(version,),
            text=text,
            top_logprobs=() if top is None else (top,),
        )
        with self._lock:
            self._waiting.append(increment)
            is_first = len(self._waiting) == 1
        if is_first:
            try:
                self._loop.call_soon_threadsafe(self.tell)
            except RuntimeError:  # the loop is closed: nobody listens
                self._future.cancel()

    def tell(self) -> None:
        """Tell what waits; called in the loop."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        if not waiting or self.error is not None:
            return
        try:
            self._on_increment(_joined(waiting))
        except Exception as error:  # the awaiting caller's own, who gets it
            self.error = error
            self._future.cancel()


def _joined(parts: list[Increment]) -> Increment:
    if len(parts) == 1:
        return parts[0]
    return Increment(
        token_ids=tuple(token for part in parts for token in part.token_ids),
        logprobs=tuple(logprob for part in parts for logprob in part.logprobs),
        versions=tuple(version for part in parts for version in part.versions),
        text="".join(part.text for part in parts),
        top_logprobs=tuple(top for part in parts for top in part.top_logprobs),
    )
