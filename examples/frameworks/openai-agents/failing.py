"""The agent of agent.py with a tool that fails."""

import sys

from agents import Agent, Runner, function_tool


@function_tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


agent = Agent(
    name="mathematician",
    instructions="You are a helpful assistant.",
    model="gpt-4o-mini",
    tools=[multiply],
)


def main(question: str) -> str:
    return Runner.run_sync(agent, question).final_output


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
