"""A crew of CrewAI in which triage delegates to a mathematician."""

import sys

from crewai import Agent, Crew, Task


def main(question: str) -> str:
    triage = Agent(
        role="triage",
        goal="Hand every sum over.",
        backstory="You know who can answer.",
        llm="openai/gpt-4o-mini",
        allow_delegation=True,
        max_iter=3,
    )
    mathematician = Agent(
        role="mathematician",
        goal="Answer sums.",
        backstory="You answer with a number.",
        llm="openai/gpt-4o-mini",
        max_iter=3,
    )
    task = Task(description=question, expected_output="A number.", agent=triage)
    return str(Crew(agents=[triage, mathematician], tasks=[task]).kickoff())


if __name__ == "__main__":
    print(main(" ".join(sys.argv[1:]) or "What is 6 times 7?"))
