"""Two agents of Pydantic AI: triage delegates to a mathematician by a tool."""

import sys

from pydantic_ai import Agent

mathematician = Agent(
    "openai:gpt-4o-mini", name="mathematician", instructions="Answer with a number."
)
triage = Agent("openai:gpt-4o-mini", name="triage", instructions="Delegate every sum.")


@triage.tool_plain
async def ask_mathematician(question: str) -> str:
    """Ask the mathematician."""
    return (await mathematician.run(question)).output


def main(question: str) -> str:
    return triage.run_sync(question).output


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
