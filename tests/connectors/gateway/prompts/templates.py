"""Chat templates in the manner of the field, and an engine that only renders and encodes.

Its tokens are bytes and the special tokens whole, but for one merge ("ab"): so that text that is
cut anew can differ from what was sampled.
"""

import re
from collections.abc import Sequence
from typing import Any, cast

import jinja2

from headrace.connectors.engines import Engine, InvalidRequest, Messages, Tools

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
QWEN = (
    "{% if tools %}<|im_start|>system\n# Tools\n{% for t in tools %}{{ t | tojson }}\n{% endfor %}"
    "Answer with <tool_call></tool_call><|im_end|>\n{% endif %}"
    "{% for m in messages %}{% if m.role == 'tool' %}"
    "<|im_start|>user\n<tool_response>\n{{ m.content }}\n</tool_response><|im_end|>\n"
    "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}{% for c in m.tool_calls or [] %}"
    '\n<tool_call>\n{"name": "{{ c.function.name }}", '
    '"arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}<|im_end|>\n{% endif %}{% endfor %}<|im_start|>assistant\n"
)
LLAMA3 = (
    "<|begin|>{% for m in messages %}<|start|>{{ m.role }}<|end|>\n\n{{ m.content | trim }}<|eot|>"
    "{% endfor %}<|start|>assistant<|end|>\n\n"
)
FORGETFUL = (
    "{% for m in messages %}{% if m.role != 'assistant' or loop.revindex <= 2 %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "<|im_start|>assistant\n"
)
"""Drops all answers but the last, as templates drop old reasoning."""

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|begin|>", "<|start|>", "<|end|>", "<|eot|>")
MERGED = 300
END = {"<|im_end|>": 257, "<|eot|>": 261}
_PARTS = re.compile("|".join([*map(re.escape, SPECIAL), "ab", "."]), re.DOTALL)


class Templating:
    """What the prompts need of an engine."""

    def __init__(self, template: str) -> None:
        self.chat_template = template
        self.end_ids = frozenset(END.values())
        self._template = jinja2.Environment(keep_trailing_newline=True).from_string(template)

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        if any(message["content"] == "refuse me" for message in messages):
            raise InvalidRequest("refused")
        return self._template.render(messages=messages, tools=tools)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(token for part in _PARTS.findall(text) for token in _tokens(part))


def decode(ids: Sequence[int]) -> str:
    raw = b"".join(_bytes(token) for token in ids)
    return raw.decode()


def engine(template: str) -> Engine:
    return cast(Any, Templating(template))  # type: ignore[no-any-return]  # a part of an engine


def _tokens(part: str) -> list[int]:
    if part in SPECIAL:
        return [256 + SPECIAL.index(part)]
    return [MERGED] if part == "ab" else list(part.encode())


def _bytes(token: int) -> bytes:
    if token == MERGED:
        return b"ab"
    return bytes([token]) if token < 256 else SPECIAL[token - 256].encode()
