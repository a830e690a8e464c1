"""An agent of two roles and two calls, on the plain `openai` SDK."""

from typing import Any

from openai import OpenAI


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "tiny"
) -> dict[str, Any]:
    """Let a writer answer and a critic judge the answer."""
    if task_input.get("crash"):
        raise RuntimeError("this task is not to be had")
    with OpenAI(base_url=base_url, api_key=api_key) as client:
        draft = _ask(client, model, "writer", f"Write about {task_input['topic']}.")
        verdict = _ask(client, model, "critic", f"Judge this: {draft.choices[0].message.content}")
    return {
        "draft": draft.choices[0].message.content,
        "responses": {"writer": draft.id, "critic": verdict.id},
    }


def _ask(client: OpenAI, model: str, role: str, text: str) -> Any:
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": text}],
        temperature=1,
        max_tokens=8,
        extra_headers={"x-headrace-agent": role},
    )
