"""Two agents of smolagents: triage manages a mathematician."""

import sys

from smolagents import OpenAIModel, ToolCallingAgent


def main(question: str) -> str:
    model = OpenAIModel(model_id="gpt-4o-mini")
    mathematician = ToolCallingAgent(
        tools=[],
        model=model,
        name="mathematician",
        description="Answers sums.",
        max_steps=3,
        verbosity_level=0,
    )
    triage = ToolCallingAgent(
        tools=[],
        model=model,
        name="triage",
        managed_agents=[mathematician],
        max_steps=3,
        verbosity_level=0,
    )
    return str(triage.run(question))


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
