"""An agent that answers arithmetic questions with a calculator.

It knows the plain `openai` SDK and nothing of headrace but the base URL it is given: the same
code runs against any OpenAI-compatible server.
"""

import ast
import operator
import re
from functools import cache
from typing import Any

from openai import OpenAI

SYSTEM = "Answer with one calculator call."
SHOTS = (
    ("What is 12 plus 7?", "<calc>12 + 7</calc>"),
    ("What is 9 times 4?", "<calc>9 * 4</calc>"),
)
CALL = re.compile(r"<calc>(.{1,40}?)</calc>")
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "calculator"
) -> dict[str, Any]:
    """Ask the model, execute the call it makes, return call and result (None: it made none)."""
    # Enough retries, with their growing pauses, to sit out a restart of the server.
    client = _client().with_options(base_url=base_url, api_key=api_key, max_retries=7)
    answer = client.chat.completions.create(
        model=model,
        messages=messages(task_input["question"]),  # type: ignore[arg-type]  # plain dicts
        temperature=1,
        max_tokens=16,
        **({"seed": task_input["seed"]} if "seed" in task_input else {}),
    )
    found = CALL.search(answer.choices[0].message.content or "")
    call = found.group(1).strip() if found else ""
    return {"call": call, "result": calculate(call)}


@cache
def _client() -> OpenAI:
    # One pool of connections for all runs in a process: a new client costs 40 ms of CPU.
    return OpenAI(base_url="http://unused.invalid", api_key="unused")


def messages(question: str) -> list[dict[str, str]]:
    """The prompt: instruction, two worked examples, the question."""
    prompt = [{"role": "system", "content": SYSTEM}]
    for asked, answered in SHOTS:
        prompt.append({"role": "user", "content": asked})
        prompt.append({"role": "assistant", "content": answered})
    return [*prompt, {"role": "user", "content": question}]


def calculate(expression: str) -> int | None:
    """The agent's tool: integers with + - *; None for anything else."""
    try:
        return _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError):
        return None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        result: int = OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        return result
    raise ValueError(f"{ast.unparse(node)} is no integer, + - or *")
