"""The agent of agent.py with a tool that fails."""

import asyncio
import sys

from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient


async def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


async def main(question: str) -> str:
    model_client = OpenAIChatCompletionClient(model="gpt-4o-mini")
    agent = AssistantAgent(
        name="mathematician",
        model_client=model_client,
        tools=[multiply],
        system_message="You are a helpful assistant.",
        reflect_on_tool_use=True,
    )
    result = await agent.run(task=question)
    await model_client.close()
    return result.messages[-1].content


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
