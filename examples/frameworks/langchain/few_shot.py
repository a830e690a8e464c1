"""The agent of agent.py with two worked examples before the question, for small models.

In the manner of LangChain's guide to few-shot prompting with tool calls.
"""

import sys

from langchain.agents import create_agent
from langchain.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI


def multiply(a: int, b: int) -> int:
    """Multiply two integers."""
    return a * b


def worked(number: int, a: int, b: int) -> list:
    call = {"name": "multiply", "args": {"a": a, "b": b}, "id": f"example_{number}"}
    return [
        HumanMessage(f"What is {a} times {b}?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage(str(a * b), tool_call_id=call["id"]),
        AIMessage(str(a * b)),
    ]


def main(question: str) -> str:
    agent = create_agent(
        model=ChatOpenAI(model="gpt-4o-mini", max_tokens=40),
        tools=[multiply],
        name="mathematician",
    )
    examples = [*worked(1, 3, 4), *worked(2, 11, 5)]
    result = agent.invoke({"messages": [*examples, HumanMessage(question)]})
    return result["messages"][-1].content


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
