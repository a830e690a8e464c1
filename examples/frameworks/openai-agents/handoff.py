"""Two agents of the OpenAI Agents SDK: triage hands over to a mathematician."""

import sys

from agents import Agent, Runner

mathematician = Agent(
    name="mathematician", instructions="Answer with a number.", model="gpt-4o-mini"
)
triage = Agent(
    name="triage",
    instructions="Hand every sum over to the mathematician.",
    model="gpt-4o-mini",
    handoffs=[mathematician],
)


def main(question: str) -> str:
    return Runner.run_sync(triage, question).final_output


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
