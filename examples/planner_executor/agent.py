"""Three agents in one episode: a planner splits a question, an executor takes the steps with a
calculator, a verifier judges what was calculated.

Plain `openai` SDK. Each says who it is in a header, which any OpenAI-compatible server ignores.
"""

from typing import Any

from openai import OpenAI

from examples.calculator.agent import CALL, calculate
from examples.calculator.agent import messages as step_prompt

PLAN = "Split the task into one question for each step."
PLANNED = (
    ("Add 12 and 7, then multiply by 3.", "What is 12 plus 7? What is that times 3?"),
    ("Multiply 9 by 4, then subtract 6.", "What is 9 times 4? What is that minus 6?"),
    ("Subtract 8 from 30, then add 5.", "What is 30 minus 8? What is that plus 5?"),
)
VERIFY = "Do the calculations answer the task? Say yes or no."
VERIFIED = (
    ("Add 12 and 7, then multiply by 3. 12 + 7, 19 * 3", "yes"),
    ("Multiply 9 by 4, then subtract 6. 9 + 4, 13 - 6", "no"),
    ("Subtract 8 from 30, then add 5. 30 - 8", "no"),
)
STEPS = 3
"""Of a plan, at most."""
TRIES = 2
"""Once more, where the verifier says no."""


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "planner"
) -> dict[str, Any]:
    """Plan, execute and verify; returns plan, calculations, verdicts and the last result."""
    task = task_input["question"]
    verdicts: list[str] = []
    with OpenAI(base_url=base_url, api_key=api_key, max_retries=7) as client:
        while len(verdicts) < TRIES and "yes" not in verdicts:
            plan = _steps(_ask(client, model, "planner", _prompt(PLAN, PLANNED, task), 32))
            done, result = _execute(client, model, plan)
            case = f"{task} {', '.join(done)}"
            said = _ask(client, model, "verifier", _prompt(VERIFY, VERIFIED, case), 4)
            verdicts.append("yes" if said.strip().lower().startswith("yes") else "no")
    return {"plan": plan, "done": done, "verdicts": verdicts, "result": result}


def _execute(client: OpenAI, model: str, plan: list[str]) -> tuple[list[str], int | None]:
    """The calculations up to the first that has no value, and the last value."""
    done: list[str] = []
    result: int | None = None
    for step in plan:
        if "that" in step and result is None:  # there is nothing yet that it could mean
            return done, None
        found = CALL.search(
            _ask(client, model, "executor", step_prompt(step.replace("that", str(result))), 16)
        )
        result = calculate(found.group(1).strip()) if found else None
        if found is None or result is None:
            return done, None
        done.append(found.group(1).strip())
    return done, result


def _ask(client: OpenAI, model: str, agent: str, prompt: list[dict[str, str]], most: int) -> str:
    answer = client.chat.completions.create(
        model=model,
        messages=prompt,  # type: ignore[arg-type]  # plain dicts
        temperature=1,
        max_tokens=most,
        extra_headers={"x-headrace-agent": agent},
    )
    return answer.choices[0].message.content or ""


def _prompt(system: str, worked: tuple[tuple[str, str], ...], asked: str) -> list[dict[str, str]]:
    prompt = [{"role": "system", "content": system}]
    for question, answer in worked:
        prompt += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*prompt, {"role": "user", "content": asked}]


def _steps(plan: str) -> list[str]:
    """The questions of a plan; what follows the last question mark is none."""
    return [f"{step.strip()}?" for step in plan.split("?")[:-1]][:STEPS]
