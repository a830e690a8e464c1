"""An agent that answers arithmetic questions with a calculator that fails now and then.

Plain `openai` SDK. Its tools are spans (`headrace.connectors.sdk.tool`), which do nothing outside
of headrace.
"""

import re
from functools import cache
from typing import Any

from openai import OpenAI

from examples.recovery.tools import Calculators

SYSTEM = "Answer with one call of calc. If calc fails, call backup."
WORKED = (
    ("What is 12 plus 7?", "<calc>12 + 7</calc>"),
    ("What is 9 times 4?", "<calc>9 * 4</calc>"),
    ("Error: calc broke", "<backup>9 * 4</backup>"),
    ("What is 30 minus 8?", "<calc>30 - 8</calc>"),
    ("Error: calc is away", "<calc>30 - 8</calc>"),
)
"""Two failures: what helps, and what the model does more often by itself."""
CALL = re.compile(r"<(calc|backup)>(.{1,40}?)</(?:calc|backup)>")
TURNS = 3
"""Model calls at most: the first, and two after failures."""


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "recovery"
) -> dict[str, Any]:
    """Answer a question; returns what the model said and the result (None: it got none)."""
    # Enough retries, with their growing pauses, to sit out a restart of the server.
    client = _client().with_options(base_url=base_url, api_key=api_key, max_retries=7)
    tools = Calculators(task_input.get("down", ""))
    prompt = messages(task_input["question"])
    said: list[str] = []
    while len(said) < TURNS:
        answer = client.chat.completions.create(
            model=model,
            messages=prompt,  # type: ignore[arg-type]  # plain dicts
            temperature=0.7,
            max_tokens=16,
            **_seed(task_input, len(said)),
        )
        said.append(answer.choices[0].message.content or "")
        try:
            return {"said": said, "result": tools.use(*call_of(said[-1]))}
        except (TimeoutError, ConnectionError, ValueError) as error:
            prompt += [
                {"role": "assistant", "content": said[-1]},
                {"role": "user", "content": f"Error: {error}"},
            ]
    return {"said": said, "result": None}


@cache
def _client() -> OpenAI:
    # One pool of connections for all runs in a process: a new client costs 40 ms of CPU.
    return OpenAI(base_url="http://unused.invalid", api_key="unused")


def messages(question: str) -> list[dict[str, str]]:
    """The prompt: instruction, worked examples, the question."""
    prompt = [{"role": "system", "content": SYSTEM}]
    for asked, answered in WORKED:
        prompt.append({"role": "user", "content": asked})
        prompt.append({"role": "assistant", "content": answered})
    return [*prompt, {"role": "user", "content": question}]


def call_of(said: str) -> tuple[str, str]:
    """Tool and expression of an answer; without a tool: what was said."""
    found = CALL.search(said)
    return (found.group(1), found.group(2).strip()) if found else ("", said)


def _seed(task_input: dict[str, Any], turn: int) -> dict[str, Any]:
    # One for each turn: with equal draws the model would repeat itself more often than it does.
    return {"seed": task_input["seed"] * TURNS + turn} if "seed" in task_input else {}
