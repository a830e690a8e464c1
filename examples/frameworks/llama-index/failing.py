"""The agent of agent.py with a tool that fails."""

import asyncio
import sys

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai import OpenAI


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


async def main(question: str) -> str:
    agent = FunctionAgent(
        name="mathematician",
        tools=[multiply],
        llm=OpenAI(model="gpt-4o-mini"),
        system_prompt="You are a helpful assistant.",
    )
    return str(await agent.run(question))


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
