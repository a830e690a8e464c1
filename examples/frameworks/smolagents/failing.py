"""The agent of agent.py with a tool that fails."""

import sys

from smolagents import OpenAIModel, ToolCallingAgent, tool


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two integers.

    Args:
        a: The first factor.
        b: The second factor.
    """
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    agent = ToolCallingAgent(
        tools=[multiply],
        model=OpenAIModel(model_id="gpt-4o-mini"),
        name="mathematician",
        max_steps=3,
        verbosity_level=0,
    )
    return str(agent.run(question))


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
