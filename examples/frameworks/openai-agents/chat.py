"""The agent of agent.py on the Chat Completions API."""

import sys

from agents import Agent, OpenAIChatCompletionsModel, Runner, function_tool
from openai import AsyncOpenAI


@function_tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


agent = Agent(
    name="mathematician",
    instructions="You are a helpful assistant.",
    model=OpenAIChatCompletionsModel(model="gpt-4o-mini", openai_client=AsyncOpenAI()),
    tools=[multiply],
)


def main(question: str) -> str:
    return Runner.run_sync(agent, question).final_output


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
