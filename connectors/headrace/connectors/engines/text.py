"""Between text and tokens: the chat template, and the tokenizer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoTokenizer, GenerationConfig

from headrace.connectors.engines.base import Messages, Tools
from headrace.connectors.engines.errors import InvalidRequest
from headrace.connectors.engines.vocabulary import read_vocabulary

LONG_TEXT = 10_000
"""Characters from which on cutting a text into tokens takes milliseconds."""


class Text:
    """A model's tokenizer, chat template and end tokens. Any thread may use it."""

    def __init__(self, directory: Path, size: int = 0) -> None:
        """size: rows of the model's embedding, which may be more than the tokenizer's tokens.

        Raises:
            InvalidWeights: this kind of tokenizer does not say its tokens' bytes.
        """
        # Any: tokenizers are dispatched at run time. The backend has no mutable state, which
        # transformers' own wrapper has (padding, truncation).
        self._tokenizer: Any = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        self._backend: Any = self._tokenizer.backend_tokenizer
        self.vocabulary = read_vocabulary(
            json.loads(self._backend.to_str()),
            size=size,
            end_ids=_end_ids(directory, self._tokenizer.eos_token_id),
        )

    @property
    def chat_template(self) -> str:
        """The model's chat template; empty if it has none."""
        template = self._tokenizer.chat_template
        return template if isinstance(template, str) else ""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer, as transformers has it."""
        return self._tokenizer

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of text; special tokens in it are taken as such, none are added."""
        if len(text) < LONG_TEXT:
            return tuple(self._backend.encode(text, add_special_tokens=False).ids)
        # The same ids, but without the interpreter's lock: other threads go on meanwhile.
        [encoded] = self._backend.encode_batch([text], add_special_tokens=False)
        return tuple(encoded.ids)

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


class ReadsText:
    """What an Engine (base.py) answers about text, from the `_text` of its model."""

    _text: Text

    @property
    def chat_template(self) -> str:
        """The model's chat template; empty if it has none."""
        return self._text.chat_template

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._text.vocabulary.end_ids

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        """A conversation as text. Raises InvalidRequest."""
        return self._text.render(messages, tools)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of text."""
        return self._text.encode(text)

    def token_bytes(self, token_ids: Sequence[int]) -> tuple[bytes, ...]:
        """The bytes that tokens stand for."""
        return self._text.vocabulary.bytes_of(token_ids)


def _end_ids(directory: Path, tokenizer_end: int | None) -> frozenset[int]:
    ids: set[int] = set() if tokenizer_end is None else {tokenizer_end}
    if (directory / "generation_config.json").is_file():
        configured = GenerationConfig.from_pretrained(directory).eos_token_id
        if configured is not None:
            ids.update([configured] if isinstance(configured, int) else configured)
    return frozenset(ids)
