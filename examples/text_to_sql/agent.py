"""An agent that answers questions about a database: write, execute, check, rewrite.

A graph of LangGraph, in the manner of its SQL agent tutorial. It knows nothing of headrace but the
base URL that it is given; each node says who it is in a header, which other servers ignore.
"""

import sqlite3
from functools import cache
from typing import Any, TypedDict

from langchain.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from examples.text_to_sql.databases import TABLES, rows_of

WRITE = "Write one SQLite query that answers the question."
WRITTEN = (
    (
        "dog(name, breed, age, weight)\nHow many dogs have the breed poodle?",
        "SELECT count(*) FROM dog WHERE breed = 'poodle'",
    ),
    (
        "song(name, singer, year, plays)\nWhich songs have the singer Adele?",
        "SELECT name FROM song WHERE singer = 'Adele'",
    ),
    (
        "dog(name, breed, age, weight)\nWhat is the highest age of the dogs?",
        "SELECT max(age) FROM dog",
    ),
    (
        "song(name, singer, year, plays)\nWhat is the average plays of the songs?",
        "SELECT avg(plays) FROM song",
    ),
    (
        "song(name, singer, year, plays)\nCount the songs of singer Adele.",
        "SELECT count(*) FROM song WHERE singer = 'Adele'",
    ),
    (
        "dog(name, breed, age, weight)\nName the dogs of breed poodle.",
        "SELECT name FROM dog WHERE breed = 'poodle'",
    ),
    ("song(name, singer, year, plays)\nWhat is the maximum plays?", "SELECT max(plays) FROM song"),
    ("dog(name, breed, age, weight)\nWhat is the mean age?", "SELECT avg(age) FROM dog"),
)
CHECK = "Does the query answer the question? Say yes or no."
CHECKED = (
    (
        "How many dogs have the breed poodle?\nSELECT count(*) FROM dog WHERE breed = 'poodle'",
        "yes",
    ),
    ("What is the highest age of the dogs?\nSELECT avg(age) FROM dog", "no"),
    ("Name the songs of singer Adele.\nSELECT name FROM song WHERE singer = 'Adele'", "yes"),
    ("What is the mean plays?\nSELECT plays FROM song", "no"),
)
QUERIES = 2
"""Queries that are written at most: the first, and one that is written again."""


class State(TypedDict, total=False):
    """Of one question."""

    question: str
    table: str
    queries: list[str]
    rows: list[list[Any]] | None
    error: str
    verdict: str


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "text_to_sql"
) -> dict[str, Any]:
    """Answer a question; returns the queries, and the rows of the last (None: it has an error)."""
    settings = {
        "model": model,
        "base_url": base_url,
        "api_key": api_key,
        "temperature": 0.5,
        "max_retries": 7,
        **({"seed": task_input["seed"]} if "seed" in task_input else {}),
    }
    writer = ChatOpenAI(
        **settings, max_tokens=40, stop=["\n", ";"], default_headers={"x-headrace-agent": "writer"}
    )
    checker = ChatOpenAI(
        **settings, max_tokens=3, stop=["\n"], default_headers={"x-headrace-agent": "checker"}
    )
    state = graph().invoke(
        {"question": task_input["question"], "table": task_input["table"], "queries": []},
        {"configurable": {"writer": writer, "checker": checker}},
    )
    return {"queries": state["queries"], "rows": state["rows"]}


@cache
def graph() -> Any:
    """Write, execute, check, and write again where the query failed or the checker says no."""
    nodes = StateGraph(State)
    nodes.add_node("write", write)
    nodes.add_node("execute", execute)
    nodes.add_node("check", check)
    nodes.add_edge(START, "write")
    nodes.add_edge("write", "execute")
    nodes.add_conditional_edges("execute", after_execute, ["write", "check", END])
    nodes.add_conditional_edges("check", after_check, ["write", END])
    return nodes.compile()


def write(state: State, config: RunnableConfig) -> State:
    """Ask for a query, or for another one than the last."""
    asked = f"{TABLES[state['table']].schema}\n{state['question']}"
    prompt = _prompt(WRITE, WRITTEN, asked)
    if state["queries"]:
        prompt += [
            AIMessage(state["queries"][-1]),
            HumanMessage(f"{state['error']}\n{asked}".strip()),
        ]
    answer = config["configurable"]["writer"].invoke(prompt)
    return {"queries": [*state["queries"], answer.text.strip()]}


def execute(state: State) -> State:
    """Run the last query."""
    try:
        return {"rows": rows_of(state["table"], state["queries"][-1]), "error": ""}
    except sqlite3.Error as error:
        return {"rows": None, "error": f"Error: {error}."}


def check(state: State, config: RunnableConfig) -> State:
    """Ask whether the last query answers the question."""
    prompt = _prompt(CHECK, CHECKED, f"{state['question']}\n{state['queries'][-1]}")
    answer = config["configurable"]["checker"].invoke(prompt)
    return {"verdict": answer.text.strip().lower()}


def after_execute(state: State) -> str:
    """An error is written again at once; the last query that may be written is not checked."""
    if len(state["queries"]) >= QUERIES:
        return END
    return "write" if state["error"] else "check"


def after_check(state: State) -> str:
    """Only a plain no has it written again."""
    return "write" if state["verdict"].startswith("no") else END


def _prompt(system: str, shots: tuple[tuple[str, str], ...], asked: str) -> list[AnyMessage]:
    prompt: list[AnyMessage] = [SystemMessage(system)]
    for question, answer in shots:
        prompt += [HumanMessage(question), AIMessage(answer)]
    return [*prompt, HumanMessage(asked)]
