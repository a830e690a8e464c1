"""What vLLM streams back, folded into increments and a generation. Pure."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.connectors.engines.base import (
    Generation,
    GenerationRequest,
    Increment,
    TopLogprobs,
)
from headrace.connectors.engines.completion import CompletionText, Ending
from headrace.connectors.engines.errors import GenerationFailed, InvalidRequest
from headrace.connectors.engines.vocabulary import Vocabulary

logger = logging.getLogger(__name__)

_END = "[DONE]"
_IMPOSSIBLE = -9999.0
"""What vLLM writes for a log-probability of minus infinity."""
_LONGEST = 1000
"""Characters of a server's message that are passed on."""


def event_of(line: str) -> dict[str, Any] | None:
    """The chunk that a line of the stream holds; None for a line without one.

    Raises:
        GenerationFailed, InvalidRequest: the line says what went wrong, or cannot be read.
    """
    data = line.removeprefix("data:").strip()
    if data == _END or not line.startswith("data:"):
        return None
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise GenerationFailed(f"vLLM streamed what is no JSON: {data[:200]!r}") from error
    if not isinstance(chunk, dict):
        raise GenerationFailed(f"vLLM streamed what is no object: {data[:200]!r}")
    if "error" in chunk:
        told = chunk["error"]
        code = told.get("code") if isinstance(told, dict) else None
        raise failure_of(code if isinstance(code, int) else 500, data)
    return chunk


def failure_of(status: int, text: str) -> GenerationFailed | InvalidRequest:
    """What an error answer of vLLM means: a 4xx, that the request is to blame."""
    message = message_of(text)
    if 400 <= status < 500:
        return InvalidRequest(f"vLLM refuses the request: {message}")
    return GenerationFailed(f"vLLM failed ({status}): {message}")


def message_of(text: str) -> str:
    """The message in an error body of vLLM; its beginning where it has none."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    error = body.get("error", body) if isinstance(body, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return (message if isinstance(message, str) else text)[:_LONGEST]


@dataclass(slots=True)
class _Tokens:
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[TopLogprobs] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)


class Completion:
    """One completion as it comes in. Text and ending are read from the tokens, as everywhere."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self.cached_tokens = 0
        """Tokens of the prompt that the server remembered, where it tells."""
        self._most = request.top_logprobs
        self._text = CompletionText(vocabulary, request.sampling)
        self._got = _Tokens()
        self._ending: Ending | None = None
        self._is_settled = False

    def add(self, chunk: Mapping[str, Any], version: int) -> Increment | None:
        """What a chunk adds; None if it adds nothing.

        Args:
            version: the one that was served when the chunk came. The server names the versions of
                all tokens at the end, and its word counts in the generation.

        Raises:
            GenerationFailed: the server broke the request off, or the chunk is of another kind.
        """
        try:
            self._count(chunk.get("usage"))
            if not chunk["choices"]:
                return None
            (choice,) = chunk["choices"]
            tokens = self._take(choice, version)
            text = self._read(tokens, choice["finish_reason"])
            if choice["finish_reason"] is not None:
                self._settle(choice["weight_versions"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise GenerationFailed(
                f"vLLM answers otherwise than version 0.32 does ({type(error).__name__}: {error})"
            ) from error
        if not tokens.ids and not text:
            return None
        return Increment(
            token_ids=tuple(tokens.ids),
            logprobs=tuple(tokens.logprobs),
            versions=tuple(tokens.versions),
            text=text,
            top_logprobs=tuple(tokens.tops),
        )

    def generation(self) -> Generation:
        """The whole completion, once the stream has ended.

        Raises:
            GenerationFailed: it ended too early.
        """
        got, ending = self._got, self._ending
        if ending is None or not self._is_settled:
            raise GenerationFailed(f"vLLM's stream broke off after {len(got.ids)} tokens")
        return Generation(
            token_ids=tuple(got.ids),
            logprobs=tuple(got.logprobs),
            versions=tuple(got.versions),
            text=self._text.text,
            finish_reason=ending.finish_reason,
            stop=ending.stop,
            stop_token_included=ending.stop_token_included,
            top_logprobs=tuple(got.tops),
        )

    def _count(self, usage: Mapping[str, Any] | None) -> None:
        details = usage.get("prompt_tokens_details") if usage else None
        if details:
            self.cached_tokens = int(details.get("cached_tokens") or 0)

    def _take(self, choice: Mapping[str, Any], version: int) -> _Tokens:
        ids = [int(token) for token in choice["token_ids"] or ()]
        facts = choice["logprobs"]["content"] if ids else []
        if len(facts) != len(ids):
            raise ValueError(f"{len(ids)} tokens with {len(facts)} log-probabilities")
        tokens = _Tokens(
            ids=ids,
            logprobs=[float(fact["logprob"]) for fact in facts],
            tops=[_top(fact["top_logprobs"], self._most) for fact in facts] if self._most else [],
            versions=[version] * len(ids),
        )
        if self._ending is not None and ids:
            raise ValueError("tokens after the end")
        got = self._got
        got.ids += tokens.ids
        got.logprobs += tokens.logprobs
        got.tops += tokens.tops
        got.versions += tokens.versions
        return tokens

    def _read(self, tokens: _Tokens, reason: str | None) -> str:
        if reason not in (None, "stop", "length"):
            raise GenerationFailed(f"vLLM ended the request with {reason!r}")
        text = ""
        for at, token in enumerate(tokens.ids, 1):
            if self._ending is not None:
                raise ValueError("tokens after the end")
            # The server may end what nothing in the text ends: at a token that only it knows.
            last = reason is not None and at == len(tokens.ids)
            grown, self._ending = self._text.add(token, is_complete=last)
            text += grown
        if reason == "length" and self._ending is not None and self._ending.stop is None:
            self._ending = Ending("length", None, self._ending.stop_token_included)
        return text

    def _settle(self, spans: list[Mapping[str, Any]] | None) -> None:
        told = [int(s["version"]) for s in spans or () for _ in range(s["start"], s["end"])]
        if len(told) != len(self._got.ids):
            raise ValueError(f"{len(self._got.ids)} tokens with versions for {len(told)}")
        if told != self._got.versions:  # some were on their way while the weights changed
            logger.info("increments named other versions than vLLM does at the end")
        self._got.versions = told
        self._is_settled = True


def _top(entries: list[Mapping[str, Any]], most: int) -> TopLogprobs:
    found = {
        int(entry["token_id"]): float(entry["logprob"])
        for entry in entries
        if entry["logprob"] > _IMPOSSIBLE
    }
    return tuple(sorted(found.items(), key=lambda pair: -pair[1])[:most])
