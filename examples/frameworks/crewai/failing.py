"""The agent of agent.py with a tool that fails."""

import sys

from crewai import Agent, Crew, Task
from crewai.tools import tool


@tool("multiply")
def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    mathematician = Agent(
        role="mathematician",
        goal="Answer sums.",
        backstory="You are a helpful assistant.",
        tools=[multiply],
        llm="openai/gpt-4o-mini",
        max_iter=3,
    )
    task = Task(description=question, expected_output="A number.", agent=mathematician)
    return str(Crew(agents=[mathematician], tasks=[task]).kickoff())


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
