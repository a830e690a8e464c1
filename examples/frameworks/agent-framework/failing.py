"""The agent of agent.py with a tool that fails."""

import asyncio
import sys

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


async def main(question: str) -> str:
    agent = Agent(
        client=OpenAIChatClient(model="gpt-4o-mini"),
        name="mathematician",
        instructions="You are a helpful assistant.",
        tools=[multiply],
    )
    return (await agent.run(question)).text


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
