"""Two agents of Semantic Kernel: triage hands over to a mathematician, its plugin."""

import asyncio
import sys

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion


async def main(question: str) -> str:
    service = OpenAIChatCompletion(ai_model_id="gpt-4o-mini")
    mathematician = ChatCompletionAgent(
        service=service,
        name="mathematician",
        description="Answers sums.",
        instructions="Answer with a number.",
    )
    triage = ChatCompletionAgent(
        service=service,
        name="triage",
        instructions="Hand every sum over to the mathematician.",
        plugins=[mathematician],
    )
    return str(await triage.get_response(messages=question))


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
