"""An engine that follows a script: it calls the first tool it is told of, then answers.

What it says is tokens (bytes), written as its model would write it, so that the gateway's own
reading of calls is used.
"""

import json
import re
from pathlib import Path
from typing import Any

from headrace.connectors.engines import Generation, GenerationRequest, Increment, OnIncrement
from headrace.connectors.engines.null import END, NullEngine

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "frameworks"
ANSWER = "The answer is 42. TERMINATE"
QUESTION = "What is 6 times 7?"
ARGUMENTS = {
    "a": 6,
    "b": 7,
    "answer": ANSWER,
    **dict.fromkeys(("question", "task", "messages", "context", "reason"), QUESTION),
    **dict.fromkeys(("coworker", "to_agent"), "mathematician"),
}
_TOOL = re.compile(
    r"^- ([\w.-]+)(?:\((.*?)\))?(?:: [^\n]*?)?(?: Arguments, as JSON schema: (.*))?$", re.M
)
_TOLD = "You can call these tools:"
_FINAL = "final_answer"
"""The tool by which smolagents' agents answer."""
_FIELD = "[[ ## "
_PIECE = 5  # tokens told at once


def python_of(framework: str) -> Path:
    """The interpreter of a framework's environment."""
    return ROOT / ".venv-frameworks" / framework / "bin" / "python"


class ScriptedEngine(NullEngine):
    """Of policy version 0."""

    async def generate(
        self, request: GenerationRequest, on_increment: OnIncrement | None = None
    ) -> Generation:
        text = reply(bytes(token for token in request.prompt_ids if token < END).decode())
        ids = (*text.encode(), END)
        generation = Generation(
            token_ids=ids,
            logprobs=(-0.1,) * len(ids),
            versions=(self.current,) * len(ids),
            text=text,
            finish_reason="stop",
            stop=None,
            stop_token_included=True,
        )
        if on_increment is not None:
            for at in range(0, len(ids), _PIECE):
                piece = ids[at : at + _PIECE]
                on_increment(
                    Increment(
                        token_ids=piece,
                        logprobs=(-0.1,) * len(piece),
                        versions=(self.current,) * len(piece),
                        text=text[at : at + _PIECE],
                    )
                )
        return generation


def reply(prompt: str) -> str:
    """What is said after a prompt."""
    if _FIELD in prompt:
        return _dspy_reply(prompt)
    told = prompt.rpartition(_TOLD)[2] if _TOLD in prompt else ""
    tools = {tool[1]: tool for tool in _TOOL.finditer(told)}
    if not tools or (_has_result(prompt) and _FINAL not in tools):
        return ANSWER
    first = next((name for name in tools if name != _FINAL), _FINAL)
    name = _FINAL if _has_result(prompt) else first
    call = {"name": name, "arguments": _arguments(tools[name][2], tools[name][3])}
    return f"<call>{json.dumps(call)}</call>"


def _has_result(prompt: str) -> bool:
    """Whether a tool has been called; smolagents tells it in words of its own."""
    return "<result>" in prompt or "Observation:\n" in prompt or "Error:\n" in prompt


def _dspy_reply(prompt: str) -> str:
    """DSPy's ReAct asks for fields: a thought, a tool and its arguments, at last the answer."""
    asked = prompt.rpartition("Respond with the corresponding output fields")[2]
    if "next_tool_name" not in asked:
        fields = {"reasoning": "It was calculated.", "answer": ANSWER}
    elif "[[ ## observation_0 ## ]]" in prompt:
        fields = {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": "{}"}
    else:
        given = json.dumps({name: ARGUMENTS[name] for name in "ab"})
        fields = {"next_thought": "So.", "next_tool_name": "multiply", "next_tool_args": given}
    told = [f"{_FIELD}{name} ## ]]\n{text}\n" for name, text in fields.items()]
    return "\n".join([*told, f"{_FIELD}completed ## ]]"])


def _arguments(signature: str | None, schema: str | None) -> dict[str, Any]:
    if schema is not None:
        names = list(json.loads(schema).get("properties", {}))
    else:
        names = [part.split(":")[0].strip() for part in (signature or "").split(",") if part]
    return {name: ARGUMENTS[name] for name in names if name in ARGUMENTS}
