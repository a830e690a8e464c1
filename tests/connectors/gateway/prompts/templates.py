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
MISTRAL = (
    "{% set ns = namespace(n=0) %}{% for m in messages %}"
    "{% if not (m.role == 'tool' or m.tool_calls) %}"
    "{% if (m.role == 'user') != (ns.n % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}"
    "{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}<s>"
    "{% for m in messages %}{% if m.role == 'user' %}"
    "{% if tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "[INST] {{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}{% if m.tool_call_id | length != 9 %}"
    "{{ raise_exception('nine') }}{% endif %}"
    '[TOOL_RESULTS] {"content": {{ m.content | tojson }}, "call_id": "{{ m.tool_call_id }}"}'
    "[/TOOL_RESULTS]{% elif m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}, '
    '"id": "{{ c.id }}"}{% endfor %}]</s>'
    "{% else %} {{ m.content }}</s>{% endif %}{% endfor %}"
)
"""Mistral 7B Instruct v0.3's, shortened: ids of nine characters, roles that alternate, and a space
before an answer that is no part of the prompt."""
FORGETFUL = (
    "{% for m in messages %}{% if m.role != 'assistant' or loop.revindex <= 2 %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    "<|im_start|>assistant\n"
)
"""Drops all answers but the last, as templates drop old reasoning."""

SPECIAL = ("<|im_start|>", "<|im_end|>", "<|begin|>", "<|start|>", "<|end|>", "<|eot|>", "</s>")
MERGED = 300
END = {"<|im_end|>": 257, "<|eot|>": 261, "</s>": 262}
_PARTS = re.compile("|".join([*map(re.escape, SPECIAL), "ab", "."]), re.DOTALL)


class Templating:
    """What the prompts need of an engine."""

    def __init__(self, template: str) -> None:
        self.chat_template = template
        self.end_ids = frozenset(END.values())
        environment = jinja2.Environment(keep_trailing_newline=True)
        environment.globals["raise_exception"] = refuse
        self._template = environment.from_string(template)

    def render(self, messages: Messages, tools: Tools = ()) -> str:
        if any(message["content"] == "refuse me" for message in messages):
            raise InvalidRequest("refused")
        return self._template.render(messages=messages, tools=tools)

    def encode(self, text: str) -> tuple[int, ...]:
        return tuple(token for part in _PARTS.findall(text) for token in _tokens(part))


def refuse(why: str) -> None:
    raise InvalidRequest(why)


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
