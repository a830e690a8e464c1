"""An agent of AutoGen that answers arithmetic questions with a calculator tool.

In the manner of its tool guide: an AssistantAgent with a function, called by the model. It knows
nothing of headrace but the base URL that it is given.
"""

import asyncio
import json
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_core import FunctionCall
from autogen_core.model_context import UnboundedChatCompletionContext
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    UserMessage,
)
from autogen_ext.models.openai import OpenAIChatCompletionClient

INSTRUCTIONS = "Answer with one call of the calculator."
WORKED = (("What is 12 plus 7?", 12, "+", 7, 19), ("What is 9 times 4?", 9, "*", 4, 36))
MODEL = ModelInfo(
    family=ModelFamily.UNKNOWN,
    function_calling=True,
    json_output=False,
    structured_output=False,
    vision=False,
)


async def calculate(a: int, operator: str, b: int) -> int:
    """Add (+), subtract (-) or multiply (*) two integers."""
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "calculator"
) -> dict[str, Any]:
    """Answer a question; returns what the agent says last: the tool's result."""
    return asyncio.run(_run(task_input, base_url, api_key, model))


async def _run(
    task_input: dict[str, Any], base_url: str, api_key: str, model: str
) -> dict[str, Any]:
    client = OpenAIChatCompletionClient(
        model=model,
        model_info=MODEL,
        base_url=base_url,
        api_key=api_key,
        max_retries=7,
        temperature=1,
        max_tokens=48,
        **({"seed": task_input["seed"]} if "seed" in task_input else {}),
    )
    try:
        agent = AssistantAgent(
            name="calculator",
            model_client=client,
            tools=[calculate],
            system_message=INSTRUCTIONS,
            model_context=UnboundedChatCompletionContext(initial_messages=worked()),
        )
        done = await agent.run(task=task_input["question"])
    finally:
        await client.close()
    return {"result": str(done.messages[-1].content)}


def worked() -> list[LLMMessage]:
    """The worked examples as a conversation, for small models."""
    messages: list[LLMMessage] = []
    for number, (question, a, operator, b, result) in enumerate(WORKED):
        arguments = json.dumps({"a": a, "operator": operator, "b": b})
        call = FunctionCall(id=f"example_{number}", name="calculate", arguments=arguments)
        told = FunctionExecutionResult(
            call_id=call.id, name=call.name, content=str(result), is_error=False
        )
        messages += [
            UserMessage(content=question, source="user"),
            AssistantMessage(content=[call], source="calculator"),
            FunctionExecutionResultMessage(content=[told]),
        ]
    return messages
