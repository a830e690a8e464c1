"""An agent that answers arithmetic questions with a calculator, on the plain `openai` SDK.

It knows nothing of headrace, of what is right, or of what users think of its answers.
"""

from functools import cache
from typing import Any

from openai import OpenAI

from examples.calculator.agent import CALL, SYSTEM, calculate

SHOTS = (
    ("What is 12 plus 7?", "<calc>12 + 7</calc>"),
    ("What is 30 minus 8?", "<calc>30 - 8</calc>"),
)
"""Nobody has asked for a product when the agent is written."""


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "drift"
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
