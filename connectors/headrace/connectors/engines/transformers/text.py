"""Between text and tokens: the chat template, decoding, and where a completion ends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jinja2 import TemplateError
from transformers import AutoTokenizer, GenerationConfig

from headrace.connectors.engines.base import Messages, SamplingParameters, Tools
from headrace.connectors.engines.errors import InvalidRequest
from headrace.connectors.engines.transformers.growing import (
    ByteDecoder,
    GrowingText,
    WindowDecoder,
)
from headrace.connectors.engines.transformers.pieces import Pieces


@dataclass(slots=True, frozen=True)
class Ending:
    """Why and how a completion ended: the fields of Generation of the same names."""

    text: str
    finish_reason: Literal["stop", "length"]
    stop: str | None
    stop_token_included: bool


class Text:
    """A model's tokenizer, chat template and end tokens. Any thread may use it."""

    def __init__(self, directory: Path) -> None:
        # Any: tokenizers are dispatched at run time. The backend has no mutable state, which
        # transformers' own wrapper has (padding, truncation).
        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._backend: Any = self._tokenizer.backend_tokenizer
        self.pieces = Pieces(self._backend)
        self.end_ids = _end_ids(directory, self._tokenizer.eos_token_id)

    @property
    def chat_template(self) -> str:
        """The model's chat template; empty if it has none."""
        template = self._tokenizer.chat_template
        return template if isinstance(template, str) else ""

    def growing(self, stops: tuple[str, ...]) -> GrowingText:
        """Text of a completion that is told while it grows."""
        if self.pieces.is_byte_level:
            return GrowingText(ByteDecoder(self.pieces.said), stops)
        return GrowingText(WindowDecoder(self.decode), stops)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, as transformers has it."""
        return self._tokenizer

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of text; special tokens in it are taken as such, none are added."""
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        """A conversation as text, up to where the assistant's answer begins.

        Raises:
            InvalidRequest: the template refuses the messages, or the model has no template.
        """
        try:
            text: str = self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                add_generation_prompt=True,
                tokenize=False,
            )
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise InvalidRequest(f"The chat template refuses these messages: {error}") from error
        return text

    def decode(self, token_ids: list[int]) -> str:
        """Text of tokens, special ones left out."""
        text: str = self._backend.decode(token_ids, skip_special_tokens=True)
        return text

    def ending(self, token_ids: list[int], sampling: SamplingParameters) -> Ending | None:
        """How the completion ends with its last token; None if it goes on."""
        if token_ids[-1] in self.end_ids:
            return Ending(self.decode(token_ids[:-1]), "stop", None, True)
        if self._may_hold(token_ids, sampling.stop):
            text = self.decode(token_ids)
            found = [(text.find(stop), stop) for stop in sampling.stop if stop in text]
            if found:
                at, stop = min(found)
                kept = at + len(stop) if sampling.include_stop else at
                return Ending(text[:kept], "stop", stop, kept < len(text))
        if len(token_ids) >= sampling.max_tokens:
            return Ending(self.decode(token_ids), "length", None, False)
        return None

    def complete(self, ending: Ending | None, token_ids: list[int]) -> Ending:
        """How a completion ends after whose form nothing may follow."""
        if ending is not None and ending.finish_reason == "stop":
            return ending
        return Ending(self.decode(token_ids), "stop", None, False)

    def _may_hold(self, token_ids: list[int], stops: tuple[str, ...]) -> bool:
        # Only the tail can hold a stop string that was not there before: a token is at least one
        # byte, and four more cover a character that the cut splits.
        if not stops:
            return False
        tail = self.decode(token_ids[-max(len(stop.encode()) for stop in stops) - 4 :])
        return any(stop in tail for stop in stops)


def _end_ids(directory: Path, tokenizer_end: int | None) -> frozenset[int]:
    ids: set[int] = set() if tokenizer_end is None else {tokenizer_end}
    if (directory / "generation_config.json").is_file():
        configured = GenerationConfig.from_pretrained(directory).eos_token_id
        if configured is not None:
            ids.update([configured] if isinstance(configured, int) else configured)
    return frozenset(ids)
