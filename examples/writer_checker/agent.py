"""Two agents in one episode: a writer answers with a calculator call, a checker judges it.

Plain `openai` SDK. Each says who it is in a header, which any OpenAI-compatible server ignores.
"""

from typing import Any

from openai import OpenAI

from examples.calculator.agent import CALL, calculate, messages

CHECK = "Does the calculator call answer the question? Say yes or no."
CHECKED = (
    ("What is 12 plus 7? <calc>12 + 7</calc>", "yes"),
    ("What is 9 times 4? <calc>9 + 4</calc>", "no"),
    ("What is 30 minus 8? <calc>8 - 30</calc>", "no"),
)
DRAFTS = 2
"""The writer tries again once, where the checker says no."""


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "writer"
) -> dict[str, Any]:
    """Let the writer draft and the checker judge; returns all drafts, verdicts and the result."""
    question = task_input["question"]
    drafts: list[str] = []
    verdicts: list[str] = []
    with OpenAI(base_url=base_url, api_key=api_key, max_retries=7) as client:
        while len(drafts) < DRAFTS and "yes" not in verdicts:
            drafts.append(_ask(client, model, "writer", messages(question), 16))
            verdicts.append(_verdict(_ask(client, model, "checker", _case(question, drafts), 4)))
    results = [_result(draft) for draft in drafts]
    return {"drafts": drafts, "verdicts": verdicts, "results": results, "result": results[-1]}


def _ask(client: OpenAI, model: str, agent: str, prompt: list[dict[str, str]], most: int) -> str:
    answer = client.chat.completions.create(
        model=model,
        messages=prompt,  # type: ignore[arg-type]  # plain dicts
        temperature=1,
        max_tokens=most,
        extra_headers={"x-headrace-agent": agent},
    )
    return answer.choices[0].message.content or ""


def _case(question: str, drafts: list[str]) -> list[dict[str, str]]:
    prompt = [{"role": "system", "content": CHECK}]
    for asked, answered in CHECKED:
        prompt += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    return [*prompt, {"role": "user", "content": f"{question} {drafts[-1]}"}]


def _verdict(text: str) -> str:
    return "yes" if text.strip().lower().startswith("yes") else "no"


def _result(draft: str) -> int | None:
    found = CALL.search(draft)
    return calculate(found.group(1).strip()) if found else None
