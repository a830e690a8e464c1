"""The agent of agent.py with a tool that fails."""

import sys

from langchain.agents import create_agent
from langchain_openai import ChatOpenAI


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    raise ValueError("the calculator is broken")


def main(question: str) -> str:
    agent = create_agent(
        model=ChatOpenAI(model="gpt-4o-mini"),
        tools=[multiply],
        system_prompt="You are a helpful assistant.",
        name="mathematician",
    )
    result = agent.invoke({"messages": [{"role": "user", "content": question}]})
    return result["messages"][-1].content


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
