"""An agent that searches a knowledge base and answers from what it finds.

An agent of the OpenAI Agents SDK with a function tool, on the Responses API. It knows nothing of
headrace but the base URL that it is given.
"""

import asyncio
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import bm25s
from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    RunContextWrapper,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from agents.exceptions import AgentsException
from openai import AsyncOpenAI

from examples.retrieval.knowledge import facts

INSTRUCTIONS = "Search for the fact, then answer with it."
WORKED = (
    ("What is the capital of Atlantis?", "capital of Atlantis",
     "The capital of Atlantis is Poseidonis.", "Poseidonis"),
    ("In which country is the city Emerald?", "city Emerald",
     "Emerald is a city in Oz.", "Oz"),
    ("What is the symbol of unobtainium?", "symbol of unobtainium",
     "The symbol of unobtainium is Ub.", "Ub"),
)  # fmt: skip
TURNS = 3
"""Model calls at most: two searches and the answer."""

set_tracing_disabled(True)  # to the vendor


@dataclass
class Found:
    """The passages that the searches of a run found."""

    passages: list[str] = field(default_factory=list)


@function_tool
def search(context: RunContextWrapper[Found], query: str) -> str:
    """Find a passage."""
    passage = best(query)
    context.context.passages.append(passage)
    return passage


def run(
    task_input: dict[str, Any], *, base_url: str, api_key: str, model: str = "retrieval"
) -> dict[str, Any]:
    """Answer a question; returns the answer and the passages that were found."""
    return asyncio.run(_run(task_input, base_url, api_key, model))


async def _run(
    task_input: dict[str, Any], base_url: str, api_key: str, model: str
) -> dict[str, Any]:
    found = Found()
    async with AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=7) as client:
        seed = {"seed": task_input["seed"]} if "seed" in task_input else None
        agent = Agent[Found](
            name="librarian",
            instructions=INSTRUCTIONS,
            model=OpenAIResponsesModel(model=model, openai_client=client),
            model_settings=ModelSettings(temperature=1, max_tokens=48, extra_body=seed),
            tools=[search],
        )
        asked = [*worked(), {"role": "user", "content": task_input["question"]}]
        try:
            result = await Runner.run(agent, asked, context=found, max_turns=TURNS)
        except AgentsException as error:  # too many turns, an answer that was cut short
            return {"answer": "", "passages": found.passages, "gave_up": str(error)}
    return {"answer": str(result.final_output), "passages": found.passages}


def worked() -> list[dict[str, Any]]:
    """The worked examples as a conversation, for small models."""
    items: list[dict[str, Any]] = []
    for number, (question, query, passage, answer) in enumerate(WORKED):
        call = {"call_id": f"example_{number}"}
        items += [
            {"role": "user", "content": question},
            {
                "type": "function_call",
                "name": "search",
                "arguments": f'{{"query": "{query}"}}',
                **call,
            },
            {"type": "function_call_output", "output": passage, **call},
            {"role": "assistant", "content": answer},
        ]
    return items


def best(query: str) -> str:
    """The passage that fits best; empty: none has a word of the query."""
    index, passages = _index()
    tokens = bm25s.tokenize([query], stopwords=None, show_progress=False)
    try:
        ranked, scores = index.retrieve(tokens, corpus=passages, k=1, show_progress=False)
    except ValueError:  # no word of it is in any passage
        return ""
    return str(ranked[0, 0]) if scores[0, 0] > 0 else ""


@cache
def _index() -> tuple[bm25s.BM25, list[str]]:
    passages = [fact.passage for fact in facts()]
    index = bm25s.BM25()
    index.index(bm25s.tokenize(passages, stopwords=None, show_progress=False), show_progress=False)
    return index, passages
