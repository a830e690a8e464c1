"""The agent of agent.py with a tool that fails."""

import asyncio
import sys

from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function


class Calculator:
    @kernel_function(description="Multiply two integers.")
    def multiply(self, a: int, b: int) -> int:
        raise ValueError("the calculator is broken")


async def main(question: str) -> str:
    agent = ChatCompletionAgent(
        service=OpenAIChatCompletion(ai_model_id="gpt-4o-mini"),
        name="mathematician",
        instructions="You are a helpful assistant.",
        plugins=[Calculator()],
    )
    response = await agent.get_response(messages=question)
    return str(response)


if __name__ == "__main__":
    print(asyncio.run(main(" ".join(sys.argv[1:]) or "What is 6 times 7?")))
