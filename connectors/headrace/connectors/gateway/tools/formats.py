"""The formats of tool calls, one row each. Pure data.

Sources: the chat templates of Qwen 2.5 and Hermes 2 Pro, Llama 3.1 ("JSON based tool calling"),
Mistral v3 and v11 (mistral-common), Llama 3.2 and 4 (pythonic).
"""

from dataclasses import dataclass
from typing import Literal

ToolFormatName = Literal["hermes", "llama3_json", "mistral", "pythonic", "headrace"]


@dataclass(kw_only=True, slots=True, frozen=True)
class ToolFormat:
    """How a model writes a call."""

    name: ToolFormatName
    opening: str
    """What begins a call. With `closing` calls may be anywhere in the text; without, they are
    the whole reply, and the opening may be missing (some tokenizers count it as special)."""
    closing: str = ""
    body: Literal["object", "objects", "named", "python"] = "object"
    """What a call is: a JSON object with name and arguments, a list or row of them, a name with
    its arguments after `separator`, or a call as Python writes it."""
    arguments: str = "arguments"
    """The key of the arguments in the object."""
    separator: str = ""
    id_length: int = 0
    """How long the ids of calls are that the template takes, letters and digits; 0: any id."""
    template_signs: tuple[str, ...] = ()
    """A chat template that holds all of these writes tools in this format by itself."""


FORMATS: dict[ToolFormatName, ToolFormat] = {
    one.name: one
    for one in (
        ToolFormat(
            name="hermes",
            opening="<tool_call>",
            closing="</tool_call>",
            template_signs=("tools", "<tool_call>"),
        ),
        ToolFormat(
            name="mistral",
            opening="[TOOL_CALLS]",
            body="objects",
            separator="[ARGS]",
            id_length=9,
            template_signs=("tools", "[TOOL_CALLS]"),
        ),
        ToolFormat(
            name="pythonic",
            opening="<|python_start|>",
            body="python",
            template_signs=("tools", "<|python_start|>"),
        ),
        ToolFormat(
            name="llama3_json",
            opening="<|python_tag|>",
            body="objects",
            arguments="parameters",
            template_signs=("tools", '"parameters"'),
        ),
        # Ours, for models whose template knows no tools: short, and of plain words, so that a
        # model of 135M parameters can write it.
        ToolFormat(name="headrace", opening="<call>", closing="</call>"),
    )
}
"""In the order in which templates are recognised."""


def format_of(chat_template: str, name: str = "auto") -> tuple[ToolFormat, bool]:
    """The format of a model by its chat template, and whether the template writes tools itself.

    name: the format that somebody who knows the model says it has; auto: as the template shows.
    """
    if name != "auto":
        form = next(one for one in FORMATS.values() if one.name == name)
        return form, name != "headrace" and "tools" in chat_template
    for one in FORMATS.values():
        if one.template_signs and all(sign in chat_template for sign in one.template_signs):
            return one, True
    return FORMATS["headrace"], False
