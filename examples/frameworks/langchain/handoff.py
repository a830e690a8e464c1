"""Two agents of LangChain in one LangGraph graph: triage hands over to a mathematician."""

import sys

from langchain.agents import create_agent
from langchain.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

model = ChatOpenAI(model="gpt-4o-mini")


@tool
def transfer_to_mathematician(question: str) -> Command:
    """Hand the question over to the mathematician."""
    return Command(
        goto="mathematician",
        graph=Command.PARENT,
        update={"messages": [{"role": "user", "content": question}]},
    )


triage = create_agent(
    model=model,
    tools=[transfer_to_mathematician],
    system_prompt="Hand every sum over to the mathematician.",
    name="triage",
)
mathematician = create_agent(
    model=model, tools=[], system_prompt="Answer with a number.", name="mathematician"
)


def main(question: str) -> str:
    graph = StateGraph(MessagesState)
    graph.add_node("triage", triage, destinations=("mathematician", END))
    graph.add_node("mathematician", mathematician)
    graph.add_edge(START, "triage")
    result = graph.compile(name="team").invoke(
        {"messages": [{"role": "user", "content": question}]}
    )
    return result["messages"][-1].content


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
