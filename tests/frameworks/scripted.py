"""An engine that follows a script: it calls the first tool it is told of, then answers in words.

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
ANSWER = "The answer is 42. TERMINATE"
ARGUMENTS = {"a": 6, "b": 7, "question": "What is 6 times 7?", "answer": ANSWER}
_TOOL = re.compile(
    r"^- ([\w.-]+)(?:\((.*?)\))?(?:: [^\n]*?)?(?: Arguments, as JSON schema: (.*))?$", re.M
)
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
    tool = _TOOL.search(prompt)
    if tool is None or "<result>" in prompt:
        return ANSWER
    call = {"name": tool[1], "arguments": _arguments(tool[2], tool[3])}
    return f"<call>{json.dumps(call)}</call>"


def _arguments(signature: str | None, schema: str | None) -> dict[str, Any]:
    if schema is not None:
        names = list(json.loads(schema).get("properties", {}))
    else:
        names = [part.split(":")[0].strip() for part in (signature or "").split(",") if part]
    return {name: ARGUMENTS.get(name, "do it") for name in names}
