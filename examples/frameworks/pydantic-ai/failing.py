"""The agent of agent.py with a tool that fails."""

import sys

from pydantic_ai import Agent

agent = Agent("openai:gpt-4o-mini", name="mathematician", instructions="Be helpful.")


@agent.tool_plain
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    return agent.run_sync(question).output


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
