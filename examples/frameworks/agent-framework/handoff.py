"""Two agents of Microsoft Agent Framework: triage hands over to a mathematician, its tool."""

import asyncio
import sys

from agent_framework import Agent
from agent_framework.openai import OpenAIChatClient


async def main(question: str) -> str:
    client = OpenAIChatClient(model="gpt-4o-mini")
    mathematician = Agent(
        client=client,
        name="mathematician",
        description="Answers sums.",
        instructions="Answer with a number.",
    )
    triage = Agent(
        client=client,
        name="triage",
        instructions="Hand every sum over to the mathematician.",
        tools=[mathematician.as_tool()],
    )
    return (await triage.run(question)).text


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
