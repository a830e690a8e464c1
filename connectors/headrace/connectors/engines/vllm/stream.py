"""What vLLM streams back, folded into increments and a generation. Pure."""

import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from headrace.connectors.engines.base import (
    Generation,
    GenerationRequest,
    Increment,
    TopLogprobs,
)
from headrace.connectors.engines.errors import GenerationFailed, InvalidRequest

logger = logging.getLogger(__name__)

END = "[DONE]"
_PLACEHOLDER = "token_id:"
_IMPOSSIBLE = -9999.0
"""What vLLM writes for a log-probability of minus infinity."""


def event_of(line: str) -> dict[str, Any] | None:
    """The chunk that a line of the stream holds; None for one that holds none.

    Raises:
        GenerationFailed, InvalidRequest: the line says what went wrong, or cannot be read.
    """
    if not line.startswith("data:"):
        return None
    data = line[len("data:") :].strip()
    if data == END:
        return None
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise GenerationFailed(f"vLLM streamed what is no JSON: {data[:200]!r}") from error
    if not isinstance(chunk, dict):
        raise GenerationFailed(f"vLLM streamed what is no object: {data[:200]!r}")
    if "error" in chunk:
        raise failure_of(400 if _code(chunk) == 400 else 500, data)
    return chunk


def failure_of(status: int, text: str) -> GenerationFailed | InvalidRequest:
    """What an error answer of vLLM means: a 4xx that the request is to blame."""
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
    if isinstance(body, dict):
        error = body.get("error", body)
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            return str(error["message"])[:1000]
        if isinstance(error, str):
            return error[:1000]
    return text[:1000]


@dataclass(slots=True)
class Completion:
    """One completion as it comes in."""

    request: GenerationRequest
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[TopLogprobs] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    """Those that increments told; the server's own, which come last, replace them."""
    text: str = ""
    reason: str | None = None
    stop: int | str | None = None
    cached_tokens: int = 0
    """Tokens of the prompt that the server remembered, where it tells."""

    def add(self, chunk: Mapping[str, Any], version: int) -> Increment | None:
        """What a chunk adds; None if nothing that can be shown.

        Args:
            version: the one served when the chunk came.

        Raises:
            GenerationFailed: the chunk is not of the kind that was asked for.
        """
        try:
            return self._add(chunk, version)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise GenerationFailed(
                f"vLLM answers otherwise than version 0.32 does ({type(error).__name__}: {error})"
            ) from error

    def generation(self, end_ids: Collection[int], shown: str) -> Generation:
        """The whole completion.

        Args:
            shown: what the tokens are as text, special ones left out.

        Raises:
            GenerationFailed: the stream ended too early, or the server broke the request off.
        """
        reason = self._reason()
        by_token = bool(self.token_ids) and self.token_ids[-1] in end_ids
        by_string = isinstance(self.stop, str)
        return Generation(
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs),
            versions=tuple(self.versions),
            text=self.text,
            finish_reason=reason,
            stop=self.stop if isinstance(self.stop, str) else None,
            stop_token_included=reason == "stop"
            and ((by_token and not by_string) or not by_string or len(shown) > len(self.text)),
            top_logprobs=tuple(self.tops),
        )

    def _add(self, chunk: Mapping[str, Any], version: int) -> Increment | None:
        usage = chunk.get("usage")
        if usage and usage.get("prompt_tokens_details"):
            self.cached_tokens = int(usage["prompt_tokens_details"].get("cached_tokens") or 0)
        if not chunk["choices"]:
            return None
        (choice,) = chunk["choices"]
        ids = [int(token) for token in choice["token_ids"] or ()]
        facts = (choice.get("logprobs") or {}).get("content") or [] if ids else []
        if len(facts) != len(ids):
            raise ValueError(f"{len(ids)} tokens with {len(facts)} log-probabilities")
        logprobs = [float(fact["logprob"]) for fact in facts]
        most = self.request.top_logprobs
        tops = [_top(fact["top_logprobs"], most) for fact in facts] if most else []
        text = str(choice.get("text") or "")
        self.token_ids += ids
        self.logprobs += logprobs
        self.tops += tops
        self.versions += [version] * len(ids)
        self.text += text
        self.reason = choice["finish_reason"]
        self.stop = choice.get("stop_reason")
        if self.reason is not None:
            self._settle(choice["weight_versions"])
        if not ids and not text:
            return None
        return Increment(
            token_ids=tuple(ids),
            logprobs=tuple(logprobs),
            versions=tuple(self.versions[len(self.versions) - len(ids) :]),
            text=text,
            top_logprobs=tuple(tops),
        )

    def _settle(self, spans: list[Mapping[str, Any]] | None) -> None:
        if not self.token_ids:
            return
        told = [int(s["version"]) for s in spans or () for _ in range(s["start"], s["end"])]
        if len(told) != len(self.token_ids):
            raise ValueError(f"{len(self.token_ids)} tokens with versions for {len(told)}")
        if told != self.versions:
            # Tokens were on their way while the weights changed: the server knows which.
            logger.debug("increments told versions %s, the server %s", self.versions, told)
        self.versions = told

    def _reason(self) -> Literal["stop", "length"]:
        if self.reason == "stop":
            return "stop"
        if self.reason == "length":
            return "length"
        if self.reason is None:
            raise GenerationFailed(
                f"vLLM's stream ended after {len(self.token_ids)} tokens, without an end"
            )
        raise GenerationFailed(f"vLLM ended the request with {self.reason!r}")


def _top(entries: list[Mapping[str, Any]], most: int) -> TopLogprobs:
    found = {
        int(entry["token"].removeprefix(_PLACEHOLDER)): float(entry["logprob"])
        for entry in entries
        if entry["logprob"] > _IMPOSSIBLE
    }
    return tuple(sorted(found.items(), key=lambda pair: -pair[1])[:most])


def _code(chunk: Mapping[str, Any]) -> int | None:
    error = chunk["error"]
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) else None
